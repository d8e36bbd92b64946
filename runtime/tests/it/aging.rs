//! What is less urgent does not starve, unless it is asked for.

use std::time::Duration;

use windlass_core::policy::PriorityOrder;
use windlass_core::{Call, Capabilities, Priority};
use windlass_testing::Harness;

use crate::support::{Log, WORK, millis, secs};

const LOW: u32 = 1;

/// Tasks of one second each in one place; each urgent one brings another one, so they never end. What has
/// begun within `time`.
async fn stream(order: PriorityOrder, time: Duration) -> Vec<u32> {
    let harness = Harness::new();
    let begun = Log::new();
    let (log, client) = (begun.clone(), harness.client().clone());
    let work = move |n: u32| {
        log.push(n);
        let client = client.clone();
        async move {
            if n >= 100 {
                client.enqueue(urgent(n + 1)).await?;
            }
            tokio::time::sleep(secs(1)).await;
            Ok::<u32, windlass_core::TaskError>(n)
        }
    };
    for level in [Priority::Low, Priority::Normal, Priority::High] {
        let levels = [LOW, LOW + 1, LOW + 2];
        let calls = levels.map(|n| WORK.call((n + 10 * level as u32,)).priority(level));
        for handle in harness.client().enqueue_many(calls).await {
            handle.unwrap();
        }
    }
    for n in [100, 100_000] {
        harness.enqueue(urgent(n)).await.unwrap();
    }
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).concurrency(1).priorities(order)).await;
    harness.pass(time + millis(500)).await;
    drop(worker);
    begun.all()
}

fn urgent(n: u32) -> Call<u32> {
    WORK.call((n,)).priority(Priority::Critical)
}

#[tokio::test(start_paused = true)]
async fn beside_urgent_tasks_without_end_every_level_has_its_turn() {
    let begun = stream(PriorityOrder::Aging, secs(48)).await;
    let of = |n: u32| begun.iter().filter(|begun| **begun / 10 == n).count();
    assert_eq!([of(0), of(1), of(2)], [3, 3, 3], "{begun:?}");
    let first = begun.iter().position(|n| *n == LOW).unwrap();
    assert!(first <= 16, "the first of the low ones comes at {first}");
    assert_eq!(begun.len(), 49, "no place is lost by it");
}

#[tokio::test(start_paused = true)]
async fn strict_is_strict() {
    let begun = stream(PriorityOrder::Strict, secs(48)).await;
    assert!(begun.iter().all(|n| *n >= 100), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_asks_a_broker_without_priorities_for_no_places() {
    use crate::support::{Asked, builder, client};
    for (priority, expected) in [(true, true), (false, false)] {
        let mut capabilities = Capabilities::all("asked");
        capabilities.priority = priority;
        let broker = Asked::new(capabilities);
        let client = client(broker.clone(), None);
        let worker = builder(&client).register_fn(WORK, async |n: u32| n).start().await.unwrap();
        crate::support::until("it has asked", || broker.requests.len() > 0).await;
        worker.shutdown().await;
        let kept = broker.requests.all().iter().any(|request| !request.reserve.is_none());
        assert_eq!(kept, expected);
    }
}
