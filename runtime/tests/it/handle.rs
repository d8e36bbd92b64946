//! What can be asked about a task.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use windlass_core::{Backend, Backoff, Broker, CancelOutcome, Clock, ErrorKind, Retention, State};
use windlass_runtime::{ResultError, TaskHandle};
use windlass_testing::fault::{BackendCall, BrokerCall};
use windlass_testing::{Harness, MemoryBroker, TokioClock, fixture};

use crate::support::{HOUR, Log, WORK, builder, client, default_queue, millis, secs, until};

async fn state(handle: &TaskHandle<u32>) -> State {
    handle.status().await.unwrap().expect("it is known").state
}

#[tokio::test(start_paused = true)]
async fn the_state_is_told_all_along_the_way() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,)).delay("1h").backoff(Backoff::fixed(HOUR))).await.unwrap();
    let status = handle.status().await.unwrap().unwrap();
    assert_eq!((status.state, status.attempt, status.failure), (State::Scheduled, 0, None));
    assert!(status.due.unwrap().since(TokioClock.now()) > HOUR - secs(1));
    harness.pass("1h").await;
    assert_eq!(state(&handle).await, State::Queued);
    let work = |context: windlass_core::Context, n: u32| async move {
        sleep(secs(10)).await;
        if context.attempt() == 1 { Err("once") } else { Ok(n) }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    harness.pass("5s").await;
    assert_eq!(state(&handle).await, State::Running);
    harness.pass("10s").await;
    assert_eq!(state(&handle).await, State::Retrying);
    harness.drain().await;
    let status = handle.status().await.unwrap().unwrap();
    assert_eq!((status.state, status.attempt, status.due), (State::Succeeded, 2, None));
    harness.pass("25h").await;
    assert_eq!(handle.status().await.unwrap(), None, "its retention is over");
}

#[tokio::test(start_paused = true)]
async fn the_state_is_told_without_a_backend() {
    let broker = MemoryBroker::new();
    let client = client(Arc::new(broker.clone()), None);
    let work = |n: u32| async move {
        sleep(secs(10)).await;
        if n == 1 { Ok(n) } else { Err("no") }
    };
    let handle = client.enqueue(WORK.call((1,))).await.unwrap();
    let bad = client.enqueue(WORK.call((2,)).max_retries(0)).await.unwrap();
    assert_eq!(state(&handle).await, State::Queued);
    let worker = builder(&client).register_fn(WORK, work).start().await.unwrap();
    sleep(secs(5)).await;
    assert_eq!(state(&handle).await, State::Running);
    sleep(secs(10)).await;
    assert_eq!(handle.status().await.unwrap(), None);
    assert_eq!(state(&bad).await, State::Failed);
    assert!(matches!(handle.result().await, Err(ResultError::NoBackend)));
    let report = worker.shutdown().await;
    assert_eq!((report.succeeded, report.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_can_be_cancelled() {
    let harness = Harness::new();
    for call in [WORK.call((1,)), WORK.call((1,)).delay("1h")] {
        let handle = harness.enqueue(call).await.unwrap();
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.result().await }
        });
        harness.pass("1s").await;
        assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Cancelled);
        let told = waiting.await.unwrap().unwrap_err();
        assert!(matches!(told, ResultError::Cancelled { reason: None, .. }), "{told}");
        assert!(matches!(handle.result().await, Err(ResultError::Cancelled { .. })));
        assert_eq!(state(&handle).await, State::Cancelled);
        assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::NotFound);
    }
    assert!(harness.broker().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_cancelled_does_not_take_its_last_error_for_the_reason() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |_n: u32| Err::<u32, _>("boom"))).await;
    let handle = harness.enqueue(WORK.call((1,)).backoff(Backoff::fixed(HOUR))).await.unwrap();
    harness.run_until_idle().await;
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Cancelled);
    let error = handle.result().await.unwrap_err();
    let ResultError::Cancelled { reason, .. } = error else { panic!("not cancelled: {error}") };
    assert_eq!(reason, None);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_task_is_told_of_its_cancellation_though_the_backend_was_away() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.backend_faults().fail_before(BackendCall::Load, 1, ErrorKind::Unavailable);
    harness.backend_faults().fail_before(BackendCall::Save, 1, ErrorKind::Unavailable);
    // Whatever the first call says, after a second one the task is cancelled for everybody.
    let first = handle.cancel().await;
    let second = handle.cancel().await;
    let error = handle.result().await.unwrap_err();
    assert!(matches!(error, ResultError::Cancelled { .. }), "{error} after {first:?}, {second:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_result_can_be_limited() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        sleep(HOUR).await;
        n
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    for limit in [secs(0), millis(500), secs(90)] {
        let start = Instant::now();
        let error = handle.result_within(limit).await.unwrap_err();
        assert!(matches!(error, ResultError::Timeout { waited, .. } if waited == limit), "{error}");
        assert!(start.elapsed() >= limit && start.elapsed() < limit + millis(20), "{:?}", start.elapsed());
    }
    assert_eq!(handle.result_within(HOUR).await.unwrap(), 1);
    assert_eq!(handle.result_within(secs(0)).await.unwrap(), 1, "what is there needs no time");
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_task_that_never_was_is_unknown() {
    let harness = Harness::new();
    let handle = harness.client().handle_of::<u32>(fixture::task_id(), default_queue());
    let start = Instant::now();
    assert!(matches!(handle.result().await, Err(ResultError::Unknown { .. })));
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
    assert_eq!(handle.status().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_not_kept_is_told_to_who_waits() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        sleep(secs(100)).await;
        n
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    for call in [WORK.call((1,)).result_ttl(Retention::None), WORK.call((1,)).status_ttl(Retention::None)] {
        let handle = harness.enqueue(call).await.unwrap();
        assert_eq!(handle.result().await.unwrap(), 1);
        let late = handle.result().await.unwrap_err();
        assert!(matches!(late, ResultError::NotKept { .. } | ResultError::Unknown { .. }), "{late}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_all_along_misses_nothing_that_is_not_kept() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        sleep(secs(3)).await;
        n
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).status_ttl(Retention::None)).await.unwrap();
    // The look whether the task still exists takes until after its end.
    harness.broker_faults().delay(BrokerCall::Locate, 1, secs(5));
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_dead_letter_whose_record_is_gone_comes_to_an_end() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |_n: u32| Err::<u32, _>("boom"))).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(0).status_ttl(HOUR)).await.unwrap();
    harness.drain().await;
    harness.pass("2h").await;
    assert_eq!(state(&handle).await, State::Failed);
    let error = handle.result_within(HOUR * 24).await.unwrap_err();
    assert!(!matches!(error, ResultError::Timeout { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_result_of_another_type_is_told() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 1);
    let other = harness.client().handle_of::<String>(handle.id().clone(), default_queue());
    let error = other.result().await.unwrap_err();
    assert!(matches!(&error, ResultError::Other(cause) if cause.kind() == ErrorKind::Codec), "{error}");
    assert!(error.to_string().contains(&handle.id().to_string()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_was_put_back_runs_again_and_says_so() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |n: u32| {
        log.push(n);
        let first = log.len() == 1;
        async move {
            sleep(secs(10)).await;
            if first { Err("boom") } else { Ok(n) }
        }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    assert!(handle.result().await.is_err());
    until("it is dead", || harness.broker().counts().dead == 1).await;
    assert_eq!(state(&handle).await, State::Failed);
    assert_eq!(harness.broker().replay(handle.queue(), &[handle.id().clone().into()]).await.unwrap(), 1);
    harness.pass("5s").await;
    assert_eq!(state(&handle).await, State::Running);
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_backend_is_told_to_who_waits() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    let waiting = tokio::spawn(async move { handle.result().await });
    harness.pass("1s").await;
    harness.backend().close().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(&error, ResultError::Other(cause) if cause.kind() == ErrorKind::Closed), "{error}");
}

/// The broker remembers the id of a task that cancelled itself: what became of it stays known.
#[tokio::test(start_paused = true)]
async fn an_id_whose_task_cancelled_itself_keeps_its_end() {
    let harness = Harness::new();
    let quit = |_: u32| async { Err::<u32, _>(windlass_core::TaskError::cancel("enough")) };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, quit)).await;
    let first = harness.enqueue(WORK.call((1,)).id("x")).await.unwrap();
    assert!(matches!(first.result().await, Err(ResultError::Cancelled { .. })));
    until("it is settled", || harness.broker().counts().running == 0).await;
    let again = harness.enqueue(WORK.call((2,)).id("x")).await.unwrap();
    assert!(!again.is_new());
    assert!(matches!(again.result_within(secs(60)).await, Err(ResultError::Cancelled { .. })));
}
