//! Cancelling tasks wherever they are.

mod races;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use windlass_core::{
    Backoff, CancelOutcome, Context, ErrorKind, Expected, FailureKind, Interrupt, NoteChange, NoteKey, Notebook,
    Retention, State, TaskError, TaskId,
};
use windlass_runtime::{FlowHandle, ResultError, TaskHandle, WorkerBuilder};
use windlass_testing::fault::BackendCall;
use windlass_testing::{Harness, MemoryBroker, fixture};

use crate::support::{Dropped, HOUR, Log, Node, WORK, builder, client, default_queue, millis, secs, until};

const DAY: Retention = Retention::For(Duration::from_secs(86_400));

/// Runs for an hour unless it is told to end; writes down when it began and what it was told.
fn long(log: &Log<String>) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let log = log.clone();
    let work = move |context: Context, n: u32| {
        log.push(format!("run {}", context.attempt()));
        let log = log.clone();
        async move {
            tokio::select! {
                reason = context.interrupted() => {
                    log.push(format!("{reason:?}: {}", context.cancel_reason().unwrap_or_default()));
                }
                () = sleep(HOUR) => {}
            }
            n
        }
    };
    move |worker| worker.register_fn(WORK, work)
}

async fn reason(handle: &TaskHandle<u32>) -> Option<String> {
    match handle.result().await {
        Err(ResultError::Cancelled { reason, .. }) => reason,
        other => panic!("not cancelled: {other:?}"),
    }
}

/// The request as another process notes it, whose signal is lost.
async fn request(harness: &Harness, id: &TaskId, text: &str) {
    let value = Bytes::from(text.replace("ID", &id.to_string()));
    let key = NoteKey::new("cancel", id.to_string()).unwrap();
    let change = NoteChange { key, expected: Expected::Anything, value: Some(value), keep: DAY };
    harness.backend().write(&[change]).await.unwrap();
}

/// Requests that nobody has followed yet.
async fn requests(harness: &Harness) -> usize {
    harness.backend().list("cancel", None, 100).await.unwrap().notes.len()
}

const NOW: &str = r#"{"id":"ID","at":9000000000000000}"#;

#[tokio::test(start_paused = true)]
async fn a_task_that_runs_is_told_with_the_reason_and_ends_as_cancelled() {
    let harness = Harness::new();
    let log = Log::new();
    let worker = harness.worker(long(&log)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("5s").await;
    let elsewhere = Node::beside(&harness).client.handle_of::<u32>(handle.id().clone(), default_queue());
    let start = Instant::now();
    let done = elsewhere.cancel_because("the order was withdrawn").await.unwrap();
    assert_eq!((done.outcome, done.was), (CancelOutcome::Requested, Some(State::Running)));
    assert_eq!(done.to_string(), "asked to end (it was running)");
    assert_eq!(reason(&handle).await.as_deref(), Some("the order was withdrawn"));
    assert!(start.elapsed() < millis(100), "{:?}", start.elapsed());
    assert_eq!(log.all(), ["run 1", "Cancelled: the order was withdrawn"]);
    harness.drain().await;
    until("the request is gone", || worker.report().cancelled == 1).await;
    let failure = handle.status().await.unwrap().unwrap().failure.unwrap();
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Cancelled, 1));
    let _ = worker.shutdown().await;
    assert_eq!(requests(&harness).await, 0);
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_listen_is_dropped_after_the_grace() {
    let harness = Harness::new();
    let dropped = Log::new();
    let log = dropped.clone();
    let work = move |n: u32| {
        let log = Dropped(log.clone());
        async move {
            sleep(HOUR).await;
            drop(log);
            n
        }
    };
    let _worker = harness.worker(|worker| worker.cancel_grace(secs(7)).register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("5s").await;
    let start = Instant::now();
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Requested);
    assert_eq!(reason(&handle).await, None);
    assert_eq!(dropped.all().len(), 1);
    let waited = dropped.all()[0] - start;
    assert!(waited >= secs(7) && waited < millis(7_100), "{waited:?}");
    harness.drain().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_a_task_answers_after_it_was_told_it_is_cancelled_and_not_retried() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |context: Context, n: u32| {
        log.push(n);
        async move {
            context.interrupted().await;
            match n {
                1 => Ok(1),
                2 => Err("boom".into()),
                3 => Err(TaskError::snooze("1s")?),
                _ => panic!("it is wrong"),
            }
        }
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    for n in 1..=4 {
        let handle = harness.enqueue(WORK.call((n,))).await.unwrap();
        harness.pass("5s").await;
        assert_eq!(handle.cancel_because("enough").await.unwrap(), CancelOutcome::Requested);
        assert_eq!(reason(&handle).await.as_deref(), Some("enough"), "{n}");
    }
    harness.drain().await;
    assert_eq!(runs.all(), [1, 2, 3, 4]);
    let report = worker.shutdown().await;
    assert_eq!((report.cancelled, report.retried, report.failed, report.succeeded), (4, 0, 0, 0), "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_answer_says_where_the_task_was() {
    let harness = Harness::new();
    let later = harness.enqueue(WORK.call((1,)).delay("1h")).await.unwrap();
    let queued = harness.enqueue(WORK.call((1,))).await.unwrap();
    for (handle, was) in [(later, State::Scheduled), (queued, State::Queued)] {
        let done = handle.cancel_because("not needed").await.unwrap();
        assert_eq!((done.outcome, done.was), (CancelOutcome::Cancelled, Some(was)));
        assert_eq!(reason(&handle).await.as_deref(), Some("not needed"));
    }
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |_n: u32| Err::<u32, _>("boom"))).await;
    let retrying = harness.enqueue(WORK.call((1,)).backoff(Backoff::fixed(HOUR))).await.unwrap();
    harness.run_until_idle().await;
    let done = harness.client().cancel(retrying.id().clone(), default_queue(), Some("no more")).await.unwrap();
    assert_eq!((done.outcome, done.was), (CancelOutcome::Cancelled, Some(State::Retrying)));
    assert_eq!(reason(&retrying).await.as_deref(), Some("no more"));
    let nobody = harness.client().handle_of::<u32>(fixture::task_id(), default_queue());
    let done = nobody.cancel().await.unwrap();
    assert_eq!((done.outcome, done.was), (CancelOutcome::NotFound, None));
    harness.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_signal_is_lost_is_found() {
    let harness = Harness::new();
    let log = Log::new();
    let _worker = harness.worker(long(&log)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("30s").await;
    let start = Instant::now();
    request(&harness, handle.id(), NOW).await;
    assert_eq!(reason(&handle).await, None);
    assert!(start.elapsed() <= secs(5), "{:?}", start.elapsed());
    assert_eq!(log.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_back_from_an_outage_of_the_backend_finds_what_it_has_missed() {
    let harness = Harness::new();
    let node = Node::beside(&harness);
    let log = Log::new();
    let _worker = node.worker(long(&log)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    node.backend.outage(true);
    harness.pass("10s").await;
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Requested);
    harness.pass("20s").await;
    assert_eq!(log.len(), 1, "it cannot know");
    node.backend.outage(false);
    assert_eq!(reason(&handle).await, None);
    assert_eq!(log.all(), ["run 1", "Cancelled: "]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_from_a_lost_worker_does_not_run_what_was_cancelled() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let log = Log::new();
    let _first = a.worker(|worker| long(&log)(worker.lease(secs(3)))).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("a runs it", || log.len() == 1).await;
    a.broker.outage(true);
    a.backend.outage(true);
    assert_eq!(handle.cancel_because("enough").await.unwrap(), CancelOutcome::Requested);
    let second = b.worker(|worker| long(&log)(worker.lease(secs(3)))).await;
    assert_eq!(reason(&handle).await.as_deref(), Some("enough"));
    harness.drain().await;
    assert_eq!(second.shutdown().await.cancelled, 1);
    assert_eq!(log.all().iter().filter(|entry| entry.starts_with("run")).count(), 1, "{:?}", log.all());
}

#[tokio::test(start_paused = true)]
async fn a_retry_looks_whether_it_was_cancelled_meanwhile() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |n: u32| {
        log.push(n);
        async { Err::<u32, _>("boom") }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).backoff(Backoff::fixed(secs(60)))).await.unwrap();
    harness.run_until_idle().await;
    // Noted while it ran, and not heard before it failed.
    request(&harness, handle.id(), NOW).await;
    assert_eq!(reason(&handle).await, None);
    harness.drain().await;
    assert_eq!(runs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_an_earlier_task_of_the_same_id_is_not_followed() {
    let harness = Harness::new();
    let log = Log::new();
    let _worker = harness.worker(long(&log)).await;
    harness.pass("1h").await;
    let handle = harness.enqueue(WORK.call((1,)).id("again")).await.unwrap();
    request(&harness, handle.id(), r#"{"id":"ID","at":1}"#).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(log.all(), ["run 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_does_not_hide_that_the_task_is_cancelled() {
    let harness = Harness::new();
    let told = Log::new();
    let log = told.clone();
    let work = move |context: Context, n: u32| {
        let log = log.clone();
        async move {
            let first = context.interrupted().await;
            log.push(first);
            log.push(context.interrupted_beyond(first).await);
            n
        }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).soft_timeout("5s")).await.unwrap();
    harness.pass("10s").await;
    assert_eq!(told.all(), [Interrupt::SoftTimeout]);
    handle.cancel().await.unwrap();
    assert_eq!(reason(&handle).await, None);
    assert_eq!(told.all(), [Interrupt::SoftTimeout, Interrupt::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_cancelled_though_its_worker_shuts_down() {
    let harness = Harness::new();
    let log = Log::new();
    let dawdles = {
        let log = log.clone();
        move |_n: u32| {
            log.push("run".to_owned());
            async {
                sleep(HOUR).await;
                0_u32
            }
        }
    };
    let worker = harness.worker(|worker| worker.cancel_grace(secs(600)).register_fn(WORK, dawdles)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("5s").await;
    handle.cancel_because("enough").await.unwrap();
    harness.pass("1s").await;
    let report = worker.shutdown().await;
    assert_eq!((report.cancelled, report.released), (1, 0), "{report}");
    assert_eq!(reason(&handle).await.as_deref(), Some("enough"));
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_nobody_can_be_told_and_the_answer_says_so() {
    let alone = client(Arc::new(MemoryBroker::new()), None);
    let log = Log::new();
    let _worker = long(&log)(builder(&alone)).start().await.unwrap();
    let handle = alone.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || log.len() == 1).await;
    let done = handle.cancel().await.unwrap();
    assert_eq!((done.outcome, done.was), (CancelOutcome::Running, Some(State::Running)));
    let waiting = alone.enqueue(WORK.call((1,)).delay("1h")).await.unwrap();
    assert_eq!(waiting.cancel().await.unwrap(), CancelOutcome::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_is_too_long_is_refused_before_anything_is_sent() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    let error = handle.cancel_because("x".repeat(1_025)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("1025 B") && error.to_string().contains("1024 B"), "{error}");
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Queued);
}

/// How often the notes are asked for something by a worker with short tasks, or with none.
async fn asked(tasks: u32) -> [usize; 5] {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    for n in 0..20 {
        if n < tasks {
            assert_eq!(harness.run(WORK.call((n,))).await.unwrap(), n);
        }
        harness.pass("10s").await;
    }
    [BackendCall::Listen, BackendCall::Read, BackendCall::Write, BackendCall::Gather, BackendCall::Signal]
        .map(|call| harness.backend_faults().calls(call))
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_short_and_succeed_cost_no_call_of_the_notebook() {
    assert_eq!(asked(20).await, asked(0).await);
}

/// The id of the caller is free again when a task was cancelled while it waited.
#[tokio::test(start_paused = true)]
async fn an_id_that_was_cancelled_with_a_reason_can_be_used_anew() {
    let harness = Harness::new();
    let first = harness.enqueue(WORK.call((1,)).id("mine")).await.unwrap();
    first.cancel_because("not yet").await.unwrap();
    let second = harness.enqueue(WORK.call((2,)).id("mine")).await.unwrap();
    assert!(second.is_new());
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    assert_eq!(second.result().await.unwrap(), 2);
}

/// Prints what it takes, in real time; machines are too different for more.
#[tokio::test]
async fn the_time_from_cancelling_to_the_signal_is_printed() {
    let harness = Harness::new();
    let told = Log::new();
    let log = told.clone();
    let work = move |context: Context, n: u32| {
        let log = log.clone();
        async move {
            context.interrupted().await;
            log.push(Instant::now());
            n
        }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let mut times = Vec::new();
    for n in 0..20 {
        let handle = harness.enqueue(WORK.call((n,))).await.unwrap();
        until("it runs", || harness.broker().counts().running == 1).await;
        let start = Instant::now();
        handle.cancel().await.unwrap();
        assert_eq!(reason(&handle).await, None);
        times.push(told.all()[n as usize] - start);
    }
    times.sort();
    println!("from cancel to signal: median {:?}, longest {:?}", times[10], times[19]);
}
