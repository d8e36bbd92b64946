//! How many tasks run at the same time, and how many are fetched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::Context;
use windlass_runtime::WorkerBuilder;
use windlass_testing::Harness;
use windlass_testing::fault::BrokerCall;

use crate::support::{HOUR, Log, Node, WORK, millis, secs, until};

/// How many run now and ran at most, by queue.
type Gauge = Arc<Mutex<HashMap<String, (usize, usize)>>>;

fn gauged(gauge: &Gauge, takes: Duration) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let gauge = Arc::clone(gauge);
    let work = move |context: Context, n: u32| {
        let gauge = Arc::clone(&gauge);
        async move {
            let change = |by: isize| {
                let mut gauge = gauge.lock().unwrap();
                let (now, most) = gauge.entry(context.queue().to_string()).or_default();
                *now = now.saturating_add_signed(by);
                *most = (*most).max(*now);
            };
            change(1);
            sleep(takes).await;
            change(-1);
            n
        }
    };
    |worker| worker.register_fn(WORK, work)
}

#[tokio::test(start_paused = true)]
async fn each_queue_has_places_of_its_own() {
    for takes in [Duration::ZERO, millis(1), secs(1)] {
        let harness = Harness::new();
        let gauge = Gauge::default();
        let queues = [("one", 1), ("three", 3), ("seven", 7)];
        let build = gauged(&gauge, takes);
        let worker = queues.iter().fold(builder(&harness), |worker, (queue, places)| worker.queue(*queue, *places));
        let _worker = build(worker).start().await.unwrap();
        for (queue, _) in queues {
            let handles = harness.client().enqueue_many((0..100).map(|n| WORK.call((n,)).queue(queue))).await;
            assert!(handles.iter().all(Result::is_ok));
        }
        harness.drain().await;
        for (queue, places) in queues {
            let most = gauge.lock().unwrap()[queue].1;
            // Without a pause in a task, one may be done before the next begins.
            assert!(most == places || (takes.is_zero() && most <= places), "{queue}: {most} at the same time");
        }
    }
}

fn builder(harness: &Harness) -> WorkerBuilder {
    crate::support::builder(harness.client())
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_served_is_left_alone() {
    let harness = Harness::new();
    let gauge = Gauge::default();
    let _worker = harness.worker(|worker| gauged(&gauge, millis(1))(worker.queue("mine", 2))).await;
    harness.enqueue(WORK.call((1,)).queue("mine")).await.unwrap();
    harness.enqueue(WORK.call((2,))).await.unwrap();
    harness.pass("1h").await;
    let counts = harness.broker().counts();
    assert_eq!((counts.queued, counts.running), (1, 0));
    assert_eq!(gauge.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn long_tasks_are_not_fetched_ahead() {
    let harness = Harness::new();
    let gauge = Gauge::default();
    let _worker = harness.worker(|worker| gauged(&gauge, secs(1))(worker.concurrency(4))).await;
    harness.client().enqueue_many((0..40).map(|n| WORK.call((n,)))).await;
    for _ in 0..5 {
        harness.pass("900ms").await;
        assert!(harness.broker().counts().running <= 4, "{:?}", harness.broker().counts());
    }
}

#[tokio::test(start_paused = true)]
async fn short_tasks_are_fetched_ahead_in_few_round_trips() {
    let harness = Harness::new();
    let gauge = Gauge::default();
    let _worker = harness.worker(|worker| gauged(&gauge, millis(2))(worker.concurrency(10))).await;
    harness.client().enqueue_many((0..20).map(|n| WORK.call((n,)))).await;
    harness.drain().await;
    let before = harness.broker_faults().calls(BrokerCall::Fetch);
    harness.client().enqueue_many((0..1_000).map(|n| WORK.call((n,)))).await;
    let watch = async {
        let mut most = 0;
        while harness.broker().counts().queued > 0 {
            most = most.max(harness.broker().counts().running);
            sleep(millis(1)).await;
        }
        most
    };
    let most = watch.await;
    harness.drain().await;
    // What ten places do in 10 ms, at 2 ms each, and what they are doing.
    assert!(most > 10 && most <= 10 + 50, "{most} claimed at the same time");
    let fetches = harness.broker_faults().calls(BrokerCall::Fetch) - before;
    assert!(fetches <= 1_000 / 7 + 10, "{fetches} fetches");
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_ahead_does_not_wait_behind_a_long_task_while_another_worker_is_idle() {
    let harness = Harness::new();
    let other = Node::beside(&harness);
    let (starts, log) = (Log::new(), Log::new());
    let begun = log.clone();
    let work = move |n: u32| {
        begun.push((n, Instant::now()));
        async move {
            sleep(if n < 100 { millis(1) } else { HOUR }).await;
            n
        }
    };
    let _first = harness.worker(|worker| worker.concurrency(1).register_fn(WORK, work.clone())).await;
    for n in 0..50 {
        harness.run(WORK.call((n,))).await.unwrap();
    }
    starts.push(log.len());
    harness.client().enqueue_many((100..103).map(|n| WORK.call((n,)))).await;
    until("the first long one runs", || log.len() == 51).await;
    let start = Instant::now();
    let _second = other.worker(|worker| worker.concurrency(10).register_fn(WORK, work)).await;
    harness.pass("1m").await;
    let late: Vec<_> = log.all().into_iter().skip(51).map(|(n, at)| (n, at - start)).collect();
    assert_eq!(late.len(), 2, "an idle worker, and {} tasks wait in the other one", 2 - late.len());
}
