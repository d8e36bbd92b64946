//! Delays, times and expiry.

use tokio::time::Instant;
use windlass_core::{Clock, State};
use windlass_runtime::{ResultError, Worker};
use windlass_testing::{Harness, TokioClock};

use crate::support::{HOUR, Log, WORK, claim, millis, secs};

/// A worker that writes down when each task ran.
async fn timed(harness: &Harness) -> (Worker, Log<(u32, Instant)>) {
    let log = Log::new();
    let runs = log.clone();
    let work = move |n: u32| {
        log.push((n, Instant::now()));
        async move { n }
    };
    (harness.worker(|worker| worker.register_fn(WORK, work)).await, runs)
}

#[tokio::test(start_paused = true)]
async fn delayed_tasks_run_at_their_times_and_in_the_order_of_these() {
    let harness = Harness::new();
    let (_worker, runs) = timed(&harness).await;
    let (start, now) = (Instant::now(), TokioClock.now());
    let past = windlass_core::Timestamp::from_micros(now.as_micros() - 1_000_000);
    let calls = [
        (WORK.call((1,)).delay("24h"), HOUR * 24),
        (WORK.call((2,)).run_at(now.plus(HOUR)), HOUR),
        (WORK.call((3,)).delay("1500ms"), millis(1_500)),
        (WORK.call((4,)), secs(0)),
        (WORK.call((5,)).run_at(past), secs(0)),
        (WORK.call((6,)).delay("1h").run_at(now.plus(HOUR * 2)), HOUR * 2),
    ];
    let mut due = Vec::new();
    for (n, (call, at)) in (1..).zip(calls) {
        harness.enqueue(call).await.unwrap();
        due.push((n, at));
    }
    harness.drain().await;
    due.sort_by_key(|(_, at)| *at);
    let runs = runs.all();
    assert_eq!(runs.len(), due.len());
    for ((n, ran), (wanted, at)) in runs.into_iter().zip(due) {
        assert_eq!(n, wanted);
        let late = (ran - start).checked_sub(at).expect("not before its time");
        assert!(late < millis(20), "task {n} came {late:?} late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_not_started_in_time_expires() {
    let harness = Harness::new();
    let late = harness.enqueue(WORK.call((1,)).expires("10s")).await.unwrap();
    let early = harness.enqueue(WORK.call((2,)).expires("1h")).await.unwrap();
    harness.pass("10s").await;
    let (worker, runs) = timed(&harness).await;
    assert!(matches!(late.result().await, Err(ResultError::Expired { .. })));
    assert_eq!(early.result().await.unwrap(), 2);
    harness.drain().await;
    assert_eq!(late.status().await.unwrap().unwrap().state, State::Expired);
    assert_eq!(runs.len(), 1);
    assert_eq!(worker.shutdown().await.expired, 1);
    assert_eq!(harness.broker().counts().dead, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_began_in_time_may_take_longer_than_its_expiry() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        tokio::time::sleep(HOUR).await;
        n
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((1,)).expires("10s")).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_lost_worker_expires_too() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,)).expires("10s")).await.unwrap();
    assert_eq!(claim(&harness, secs(30)).await.len(), 1);
    let (_worker, runs) = timed(&harness).await;
    assert!(matches!(handle.result().await, Err(ResultError::Expired { .. })));
    assert_eq!(runs.len(), 0);
}
