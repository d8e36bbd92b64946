//! Queues that share the places of a worker.

use tokio::time::Instant;
use windlass_runtime::{QueueOrder, Report, WorkerBuilder};
use windlass_testing::Harness;

use crate::support::{Log, WORK, millis, secs};

/// Tasks of one second each in these queues, run by a worker that is built so: the queues in the order in
/// which their tasks began, and how long all took.
async fn run(tasks: &[(&'static str, u32)], build: fn(WorkerBuilder) -> WorkerBuilder) -> (Vec<String>, f64, Report) {
    let harness = Harness::new();
    for (queue, count) in tasks {
        for handle in harness.client().enqueue_many((0..*count).map(|n| WORK.call((n,)).queue(queue))).await {
            handle.unwrap();
        }
    }
    let begun = Log::new();
    let log = begun.clone();
    let work = move |context: windlass_core::Context, n: u32| {
        log.push(context.queue().to_string());
        async move {
            tokio::time::sleep(secs(1)).await;
            n
        }
    };
    let start = Instant::now();
    let worker = harness.worker(|worker| build(worker.register_fn(WORK, work))).await;
    harness.drain().await;
    let took = start.elapsed().as_secs_f64();
    (begun.all(), took, worker.shutdown().await)
}

fn count(begun: &[String], queue: &str) -> usize {
    begun.iter().filter(|begun| *begun == queue).count()
}

#[tokio::test(start_paused = true)]
async fn strict_serves_a_queue_only_while_those_before_it_have_nothing() {
    let (begun, took, report) = run(&[("late", 20), ("first", 20)], |worker| {
        let worker = worker.queue("first", 100).queue("late", 100).weight("first", 2);
        worker.order(QueueOrder::Strict).total(3)
    })
    .await;
    assert_eq!(count(&begun[..18], "first"), 18, "{begun:?}");
    assert_eq!(report.succeeded, 40);
    assert!((14.0..15.0).contains(&took), "40 tasks in 3 places took {took} s");
}

#[tokio::test(start_paused = true)]
async fn weighted_hands_out_places_in_proportion() {
    let (begun, took, _) = run(&[("a", 60), ("b", 20)], |worker| {
        let worker = worker.queue("a", 100).queue("b", 100).weight("a", 3);
        worker.order(QueueOrder::Weighted).total(4)
    })
    .await;
    for half in [8, 20, 40, 60] {
        let share = count(&begun[..half], "a") as f64 / half as f64;
        assert!((0.7..=0.8).contains(&share), "of the first {half}, {share} are of a: {begun:?}");
    }
    assert!((20.0..21.0).contains(&took), "80 tasks in 4 places took {took} s");
}

#[tokio::test(start_paused = true)]
async fn no_place_is_idle_because_another_queue_is_empty() {
    for order in [QueueOrder::Strict, QueueOrder::Weighted] {
        let build = match order {
            QueueOrder::Strict => |worker: WorkerBuilder| worker.order(QueueOrder::Strict),
            _ => |worker: WorkerBuilder| worker.order(QueueOrder::Weighted),
        };
        let harness = Harness::new();
        let work = |n: u32| async move {
            tokio::time::sleep(secs(1)).await;
            n
        };
        let worker = harness
            .worker(|worker| {
                build(worker.register_fn(WORK, work)).queue("a", 100).queue("b", 100).weight("a", 9).total(4)
            })
            .await;
        // Both have been looked at and were empty.
        harness.pass("10s").await;
        let start = Instant::now();
        for handle in harness.client().enqueue_many((0..40).map(|n| WORK.call((n,)).queue("b"))).await {
            handle.unwrap();
        }
        harness.drain().await;
        assert!(start.elapsed() < millis(10_900), "{order}: {:?}", start.elapsed());
        assert_eq!(worker.shutdown().await.succeeded, 40);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_no_more_places_than_its_concurrency() {
    let (begun, took, _) = run(&[("a", 10), ("b", 30)], |worker| {
        let worker = worker.queue("a", 1).queue("b", 100).weight("a", 9);
        worker.order(QueueOrder::Strict).total(4)
    })
    .await;
    assert!((10.0..11.0).contains(&took), "took {took} s");
    assert_eq!(count(&begun[..20], "a"), 5, "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_fails_does_not_keep_places() {
    use windlass_core::ErrorKind;
    use windlass_testing::fault::BrokerCall;
    let harness = Harness::new();
    harness.broker_faults().fail_before(BrokerCall::Fetch, 1, ErrorKind::Unavailable);
    harness.broker_faults().fail_before(BrokerCall::Fetch, 3, ErrorKind::Unavailable);
    harness.broker_faults().duplicate_fetch(2);
    for queue in ["a", "b"] {
        for handle in harness.client().enqueue_many((0..20).map(|n| WORK.call((n,)).queue(queue))).await {
            handle.unwrap();
        }
    }
    let work = |n: u32| async move {
        tokio::time::sleep(secs(1)).await;
        n
    };
    let worker = harness
        .worker(|worker| {
            let worker = worker.register_fn(WORK, work).queue("a", 10).queue("b", 10).weight("a", 2);
            worker.order(QueueOrder::Weighted).total(2)
        })
        .await;
    harness.pass("18s").await;
    let start = Instant::now();
    harness.drain().await;
    assert!(start.elapsed() < secs(5), "both places are still used: {:?}", start.elapsed());
    assert_eq!(worker.shutdown().await.succeeded, 40);
}
