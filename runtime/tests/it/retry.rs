//! What follows from a run that did not succeed.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::{Backoff, Clock, Context, FailureKind, RetryOn, State, TaskError};
use windlass_runtime::{ResultError, Worker};
use windlass_testing::{Harness, TokioClock};

use crate::support::{HOUR, Log, WORK, dead, millis, secs};

/// A worker that writes down attempt and time of each run and answers as `answer` says.
async fn worker(
    harness: &Harness,
    answer: impl Fn(&Context) -> Result<u32, TaskError> + Send + Sync + 'static,
) -> (Worker, Log<(u32, Instant)>) {
    let log = Log::new();
    let runs = log.clone();
    let work = move |context: Context, _n: u32| {
        log.push((context.attempt(), Instant::now()));
        let answer = answer(&context);
        async move { answer }
    };
    (harness.worker(|worker| worker.register_fn(WORK, work)).await, runs)
}

fn gaps(runs: &Log<(u32, Instant)>) -> Vec<Duration> {
    runs.all().windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
}

fn assert_close(gaps: &[Duration], wanted: &[Duration]) {
    assert_eq!(gaps.len(), wanted.len(), "{gaps:?}");
    for (retry, (gap, wanted)) in (1..).zip(gaps.iter().zip(wanted)) {
        let late = gap.checked_sub(*wanted).unwrap_or_else(|| panic!("retry {retry} after {gap:?}, not {wanted:?}"));
        assert!(late < millis(20), "retry {retry} came {late:?} late");
    }
}

fn failure(error: ResultError) -> windlass_core::Failure {
    match error {
        ResultError::Failed { failure, .. } => failure,
        other => panic!("not failed: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn retries_come_after_exactly_the_pauses_of_the_backoff_over_a_day() {
    let harness = Harness::new();
    let (worker, runs) = worker(&harness, |context| match context.attempt() {
        15 => Ok(15),
        _ => Err("not yet".into()),
    })
    .await;
    let backoff = Backoff::exponential(secs(60), 2.0, HOUR * 4).with_jitter(0.0);
    let start = Instant::now();
    let handle = harness.enqueue(WORK.call((1,)).max_retries(14).backoff(backoff)).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 15);
    assert!(start.elapsed() > HOUR * 24);
    let wanted: Vec<Duration> = (1..15).map(|retry| secs(60) * 2_u32.pow(retry - 1)).map(|p| p.min(HOUR * 4)).collect();
    assert_close(&gaps(&runs), &wanted);
    let attempts: Vec<u32> = runs.all().into_iter().map(|(attempt, _)| attempt).collect();
    assert_eq!(attempts, (1..=15).collect::<Vec<_>>());
    let report = worker.shutdown().await;
    assert_eq!((report.retried, report.succeeded, report.failed), (14, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_built_in_policy_gives_up_after_ten_retries_of_growing_pauses() {
    let harness = Harness::new();
    let (_worker, runs) = worker(&harness, |_| Err("never".into())).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    let failure = failure(handle.result().await.unwrap_err());
    assert_eq!((failure.kind, failure.message.as_str(), failure.attempt), (FailureKind::Error, "never", 11));
    for (retry, gap) in (1..).zip(gaps(&runs)) {
        let full = Backoff::default().pause(retry, 0.0);
        assert!(gap >= full.mul_f64(0.75) && gap <= full + millis(20), "retry {retry} after {gap:?}");
    }
    assert_eq!(runs.len(), 11);
    harness.drain().await;
    let dead = dead(&harness).await;
    assert_eq!(dead.len(), 1);
    assert!(dead[0].reason.contains("never") && dead[0].reason.contains("11"), "{}", dead[0].reason);
    assert_eq!(dead[0].progress.failures, 11);
}

#[tokio::test(start_paused = true)]
async fn a_task_can_say_when_it_is_retried() {
    let harness = Harness::new();
    let (_worker, runs) = worker(&harness, |context| match context.attempt() {
        1 => Err(TaskError::retry_after("7h", "busy").unwrap()),
        2 => Err(TaskError::retry_after(Duration::ZERO, "busy").unwrap()),
        _ => Ok(3),
    })
    .await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 3);
    assert_close(&gaps(&runs), &[HOUR * 7, Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_task_asks_for_counts_as_one() {
    let harness = Harness::new();
    let (_worker, runs) = worker(&harness, |_| Err(TaskError::retry_after("1s", "busy").unwrap())).await;
    let error = harness.run(WORK.call((1,)).max_retries(2)).await.unwrap_err();
    assert_eq!(failure(error).attempt, 3);
    assert_eq!(runs.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn snoozing_uses_up_no_attempt() {
    let harness = Harness::new();
    let count = Log::new();
    let (worker, runs) = worker(&harness, move |context| {
        count.push(());
        assert_eq!(context.attempt(), 1);
        if count.len() <= 5 { Err(TaskError::snooze("1h").unwrap()) } else { Ok(5) }
    })
    .await;
    assert_eq!(harness.run(WORK.call((1,)).max_retries(0)).await.unwrap(), 5);
    assert_close(&gaps(&runs), &[HOUR; 5]);
    let report = worker.shutdown().await;
    assert_eq!((report.postponed, report.retried, report.succeeded), (5, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_snoozes_for_ever_is_stopped() {
    let harness = Harness::new();
    let (_worker, runs) = worker(&harness, |_| Err(TaskError::snooze(Duration::ZERO).unwrap())).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    assert_eq!(failure(handle.result().await.unwrap_err()).kind, FailureKind::Snoozed);
    assert_eq!(runs.len(), 101);
    harness.drain().await;
    assert_eq!(dead(&harness).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_not_retried_and_keeps_its_causes() {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no number")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let harness = Harness::new();
    let (_worker, runs) = worker(&harness, |_| Err(TaskError::permanent(Outer("x".parse::<u8>().unwrap_err())))).await;
    let failure = failure(harness.run(WORK.call((1,))).await.unwrap_err());
    assert_eq!((failure.kind, failure.message.as_str(), failure.attempt), (FailureKind::Error, "no number", 1));
    assert_eq!(failure.causes, ["invalid digit found in string"]);
    assert_eq!(runs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_can_cancel_itself() {
    let harness = Harness::new();
    let (worker, runs) = worker(&harness, |_| Err(TaskError::cancel("the order was withdrawn"))).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    let error = handle.result().await.unwrap_err();
    let ResultError::Cancelled { reason, .. } = error else { panic!("not cancelled: {error}") };
    assert_eq!(reason.as_deref(), Some("the order was withdrawn"));
    harness.drain().await;
    assert_eq!((runs.len(), dead(&harness).await.len()), (1, 0));
    assert_eq!(worker.shutdown().await.cancelled, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_retried_is_not() {
    let none = RetryOn { errors: false, timeouts: false, panics: false };
    let all = RetryOn::default();
    // Which kind of failure, what is switched on, and how many runs follow with one retry allowed.
    let table = [
        (1, RetryOn { errors: false, ..all }, 1),
        (1, RetryOn { errors: true, ..none }, 2),
        (2, RetryOn { timeouts: false, ..all }, 1),
        (2, RetryOn { timeouts: true, ..none }, 2),
        (3, RetryOn { panics: false, ..all }, 1),
        (3, RetryOn { panics: true, ..none }, 2),
    ];
    for (how, on, wanted) in table {
        let harness = Harness::new();
        let log = Log::new();
        let runs = log.clone();
        let work = move |how: u32| {
            log.push(());
            async move {
                match how {
                    1 => Err("an error"),
                    2 => std::future::pending().await,
                    _ => panic!("a panic"),
                }
            }
        };
        let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
        let call = WORK.call((how,)).retry_on(on).timeout("1s").max_retries(1);
        let kind = failure(harness.run(call).await.unwrap_err()).kind;
        assert_eq!(kind, [FailureKind::Error, FailureKind::Timeout, FailureKind::Panic][how as usize - 1]);
        assert_eq!(runs.len(), wanted, "{kind:?} with {on}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_retries_a_task_runs_once() {
    let harness = Harness::new();
    let (_worker, runs) = worker(&harness, |_| Err("no".into())).await;
    assert_eq!(failure(harness.run(WORK.call((1,)).max_retries(0)).await.unwrap_err()).attempt, 1);
    assert_eq!(runs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_retry_says_why() {
    let harness = Harness::new();
    let (_worker, _) = worker(&harness, |context| match context.attempt() {
        1 => Err("the first time".into()),
        _ => Ok(2),
    })
    .await;
    let handle = harness.enqueue(WORK.call((1,)).backoff(Backoff::fixed(HOUR))).await.unwrap();
    harness.run_until_idle().await;
    let status = handle.status().await.unwrap().unwrap();
    assert_eq!((status.state, status.attempt), (State::Retrying, 1));
    assert_eq!(status.failure.unwrap().message, "the first time");
    let wait = status.due.unwrap().since(TokioClock.now());
    assert!(wait > HOUR - secs(1) && wait <= HOUR, "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn no_retry_is_made_after_the_deadline() {
    let harness = Harness::new();
    let (_worker, runs) = worker(&harness, |_| Err("no".into())).await;
    let deadline = TokioClock.now().plus(secs(25));
    let call = WORK.call((1,)).backoff(Backoff::fixed(secs(10))).deadline(deadline);
    let start = Instant::now();
    assert_eq!(failure(harness.run(call).await.unwrap_err()).attempt, 3);
    assert_eq!(runs.len(), 3);
    assert!(start.elapsed() < secs(21), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_run_is_stopped_at_the_deadline() {
    let harness = Harness::new();
    let work = |context: Context, n: u32| async move {
        assert_eq!(context.deadline().unwrap().since(TokioClock.now()).as_secs(), 9);
        sleep(HOUR).await;
        n
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let deadline = TokioClock.now().plus(millis(9_500));
    let start = Instant::now();
    let error = harness.run(WORK.call((1,)).timeout("1h").deadline(deadline)).await.unwrap_err();
    assert_eq!(failure(error).kind, FailureKind::Timeout);
    assert!(start.elapsed() < secs(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_deadline_has_passed_is_not_started() {
    let harness = Harness::new();
    let deadline = TokioClock.now().plus(secs(5));
    let handle = harness.enqueue(WORK.call((1,)).deadline(deadline)).await.unwrap();
    harness.pass("10s").await;
    let (_worker, runs) = worker(&harness, |_| Ok(1)).await;
    assert_eq!(failure(handle.result().await.unwrap_err()).kind, FailureKind::Timeout);
    assert_eq!(runs.len(), 0, "it was started after its deadline");
}
