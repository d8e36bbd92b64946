//! How long a run may take.

use std::sync::Mutex;
use std::sync::mpsc;

use tokio::time::{Instant, sleep};
use windlass_core::{Backoff, Context, FailureKind, Interrupt, TaskDef};
use windlass_runtime::ResultError;
use windlass_testing::Harness;

use crate::support::{Dropped, HOUR, Log, WORK, millis, secs, until};

const OTHER: TaskDef<(), u32> = TaskDef::new("other");

#[tokio::test(start_paused = true)]
async fn an_async_task_is_stopped_after_its_timeout_and_retried() {
    let harness = Harness::new();
    let (starts, drops) = (Log::new(), Log::new());
    let (log, dropped) = (starts.clone(), drops.clone());
    let work = move |n: u32| {
        log.push(Instant::now());
        let dropped = Dropped(dropped.clone());
        async move {
            let _dropped = dropped;
            sleep(HOUR).await;
            n
        }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let call = WORK.call((1,)).timeout("30s").max_retries(1).backoff(Backoff::fixed(secs(5)));
    let error = harness.run(call).await.unwrap_err();
    let ResultError::Failed { failure, .. } = error else { panic!("not failed: {error}") };
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Timeout, 2));
    assert!(failure.message.contains("30s"), "{failure}");
    let (starts, drops) = (starts.all(), drops.all());
    assert_eq!((starts.len(), drops.len()), (2, 2));
    for (start, stop) in starts.iter().zip(&drops) {
        let ran = *stop - *start;
        assert!(ran >= secs(30) && ran < secs(30) + millis(20), "{ran:?}");
    }
    assert!(starts[1] - drops[0] >= secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_in_time_is_left_alone() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        sleep(millis(29_900)).await;
        n
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((1,)).timeout("30s")).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_is_a_signal() {
    let harness = Harness::new();
    let work = |context: Context, _n: u32| async move {
        let start = Instant::now();
        assert_eq!(context.interrupt(), None);
        let why = tokio::select! {
            why = context.interrupted() => why,
            () = sleep(HOUR) => panic!("no signal"),
        };
        assert_eq!((why, context.interrupt()), (Interrupt::SoftTimeout, Some(why)));
        u32::try_from(start.elapsed().as_secs()).unwrap()
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let both = WORK.call((1,)).soft_timeout("20s").timeout("30s").max_retries(0);
    assert_eq!(harness.run(both).await.unwrap(), 20);
    let alone = WORK.call((1,)).soft_timeout("20s").max_retries(0);
    assert_eq!(harness.run(alone).await.unwrap(), 20);
}

#[tokio::test(start_paused = true)]
async fn who_ignores_the_soft_timeout_meets_the_hard_one() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        sleep(HOUR).await;
        n
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let start = Instant::now();
    let call = WORK.call((1,)).soft_timeout("20s").timeout("30s").max_retries(0);
    let error = harness.run(call).await.unwrap_err();
    assert!(matches!(error, ResultError::Failed { failure, .. } if failure.kind == FailureKind::Timeout));
    assert!(start.elapsed() >= secs(30) && start.elapsed() < secs(31));
}

/// In real time: a thread that blocks holds a paused clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_task_that_timed_out_keeps_its_place_until_its_thread_returns() {
    a_place_is_kept_until_a_thread_returns(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_fetched_ahead_does_not_get_the_place_of_a_thread_that_has_not_returned() {
    a_place_is_kept_until_a_thread_returns(50).await;
}

/// First runs some short tasks, after which more is fetched than there are places.
async fn a_place_is_kept_until_a_thread_returns(short: usize) {
    let harness = Harness::new();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = std::sync::Arc::new(Mutex::new(gate));
    let (runs, others) = (Log::new(), Log::new());
    let (log, other_log) = (runs.clone(), others.clone());
    let work = move |n: u32| -> u32 {
        log.push(n);
        let _ = gate.lock().unwrap().recv();
        n
    };
    let other = move || {
        other_log.push(());
        async { 7 }
    };
    let worker = harness.worker(|worker| worker.concurrency(1).register_fn(WORK, work).register_fn(OTHER, other)).await;
    for _ in 0..short {
        assert_eq!(harness.run(OTHER.call(())).await.unwrap(), 7);
    }
    let stuck = harness.enqueue(WORK.call((1,)).timeout("50ms").max_retries(0)).await.unwrap();
    let next = harness.enqueue(OTHER.call(())).await.unwrap();
    let error = stuck.result().await.unwrap_err();
    assert!(matches!(error, ResultError::Failed { failure, .. } if failure.kind == FailureKind::Timeout));
    // Its end is recorded and its thread is not back: the place is not free.
    assert!(next.result_within(millis(300)).await.is_err());
    assert_eq!((runs.len(), others.len()), (1, short));
    go_on.send(()).unwrap();
    assert_eq!(next.result().await.unwrap(), 7);
    until("what the thread answered too late is dropped", || harness.broker().counts().running == 0).await;
    let report = worker.shutdown().await;
    assert_eq!((report.failed, report.succeeded), (1, u64::try_from(short).unwrap() + 1));
}
