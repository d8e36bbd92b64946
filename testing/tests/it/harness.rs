//! The harness runs the real client and worker, in virtual time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{Backoff, Broker, Context, ErrorKind, State, TaskDef, TaskError};
use windlass_runtime::ResultError;
use windlass_testing::fault::{BackendCall, BrokerCall};
use windlass_testing::{Harness, assert_enqueued, refute_enqueued};

const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");
const FLAKY: TaskDef<(), u32> = TaskDef::new("flaky");
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_and_its_result_comes_back() {
    let harness = Harness::new();
    let worker = harness.worker(|worker| worker.register_fn(ADD, add)).await;
    assert_eq!(harness.run(ADD.call((2, 3))).await.unwrap(), 5);
    assert_eq!(worker.shutdown().await.succeeded, 1);
    harness.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_schedule_of_a_day_is_tested_in_a_moment() {
    let harness = Harness::new();
    let real = std::time::Instant::now();
    let (start, runs) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&runs);
    let flaky = move |context: Context| {
        log.lock().unwrap().push(start.elapsed());
        async move { if context.attempt() < 25 { Err("not yet") } else { Ok(context.attempt()) } }
    };
    let _worker = harness.worker(|worker| worker.register_fn(FLAKY, flaky)).await;
    let handle = harness.enqueue(FLAKY.call(()).max_retries(24).backoff(Backoff::fixed(HOUR))).await.unwrap();
    harness.run_until_idle().await;
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Retrying);
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), 25);
    let runs = runs.lock().unwrap();
    assert_eq!(runs.len(), 25);
    for (number, at) in (0..).zip(runs.iter()) {
        let late = at.checked_sub(number * HOUR).unwrap();
        assert!(late < Duration::from_secs(1), "run {number} came {late:?} late");
    }
    assert!(start.elapsed() >= DAY && real.elapsed() < Duration::from_secs(20), "{:?}", real.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_delayed_task_waits_for_its_time() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(ADD, add)).await;
    let handle = harness.enqueue(ADD.call((2, 3)).delay("2h")).await.unwrap();
    harness.pass("119m").await;
    assert_enqueued!(harness.broker(), "add", [2, 3]);
    // Times travel in milliseconds, so it may be due a part of one later than it was asked for.
    harness.pass("1m1s").await;
    harness.run_until_idle().await;
    refute_enqueued!(harness.broker(), "add");
    assert_eq!(handle.result().await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_runs_for_days_keeps_its_lease() {
    let harness = Harness::new();
    let runs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&runs);
    let long = move || {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(3 * DAY).await;
            7_u32
        }
    };
    let _worker = harness.worker(|worker| worker.register_fn(FLAKY, long)).await;
    assert_eq!(harness.run(FLAKY.call(())).await.unwrap(), 7);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_good_is_a_dead_letter() {
    let harness = Harness::new();
    let fails = || async { Err::<u32, _>(TaskError::permanent("never")) };
    let worker = harness.worker(|worker| worker.register_fn(FLAKY, fails)).await;
    let handle = harness.enqueue(FLAKY.call(())).await.unwrap();
    harness.drain().await;
    assert!(matches!(handle.result().await, Err(ResultError::Failed { .. })));
    assert_eq!(harness.broker().counts().dead, 1);
    let letters = harness.broker().dead_letters(handle.queue(), None, 10).await.unwrap().letters;
    assert!(letters[0].reason.contains("never"), "{}", letters[0].reason);
    assert_eq!(worker.shutdown().await.failed, 1);
}

#[tokio::test(start_paused = true)]
async fn faults_between_worker_and_stores_lose_nothing() {
    let harness = Harness::new();
    let faults = harness.broker_faults();
    faults.fail_before(BrokerCall::Fetch, 2, ErrorKind::Unavailable);
    faults.fail_after(BrokerCall::Settle, 1);
    faults.fail_before(BrokerCall::Settle, 3, ErrorKind::Unavailable);
    harness.backend_faults().fail_after(BackendCall::Save, 1);
    let worker = harness.worker(|worker| worker.register_fn(ADD, add)).await;
    for number in 0..50 {
        assert_eq!(harness.run(ADD.call((number, 1))).await.unwrap(), number + 1);
    }
    harness.drain().await;
    assert_eq!(worker.shutdown().await.succeeded, 50);
    assert!(faults.calls(BrokerCall::Settle) >= 3);
}

#[tokio::test(start_paused = true)]
#[should_panic(
    expected = "something is still due: Counts { queued: 1, scheduled: 0, running: 0, dead: 0 }\n  add [2,3]"
)]
async fn a_task_that_nobody_runs_is_named() {
    let harness = Harness::new();
    harness.enqueue(ADD.call((2, 3))).await.unwrap();
    harness.run_until_idle().await;
}

#[tokio::test]
async fn it_works_in_real_time_too() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(ADD, add)).await;
    let handle = harness.enqueue(ADD.call((2, 3)).delay(Duration::from_millis(20))).await.unwrap();
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), 5);
}
