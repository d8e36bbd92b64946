//! From a call to the broker.

use std::sync::Arc;

use futures_util::future::join_all;
use windlass_core::limits::{BATCH_BYTES, PAYLOAD_BYTES};
use windlass_core::{ErrorKind, TaskDef};
use windlass_testing::fault::BrokerCall;
use windlass_testing::{Harness, MemoryBroker};

use crate::support::{HOUR, Log, WORK, Weighed, client, millis};

const STORE: TaskDef<(String,), usize> = TaskDef::new("store");

#[tokio::test(start_paused = true)]
async fn a_task_runs_and_its_result_comes_back() {
    let harness = Harness::new();
    let worker = harness.worker(|worker| worker.register_fn(WORK, |n: u32| async move { n * 2 })).await;
    assert_eq!(harness.run(WORK.call((21,))).await.unwrap(), 42);
    let report = worker.shutdown().await;
    assert_eq!((report.succeeded, report.failed, report.abandoned), (1, 0, 0));
    assert!(harness.broker().is_empty());
}

#[tokio::test(start_paused = true)]
async fn many_calls_are_answered_in_their_order_and_a_bad_one_stops_no_other() {
    let harness = Harness::new();
    let calls = (0..2_500).map(|n| match n {
        700 => WORK.call((n,)).queue("not a queue"),
        1_900 => WORK.call((n,)).delay("-1s"),
        _ => WORK.call((n,)),
    });
    let handles = harness.client().enqueue_many(calls).await;
    assert_eq!(handles.len(), 2_500);
    assert!(harness.broker_faults().calls(BrokerCall::Publish) <= 3);
    let _worker = harness.worker(|worker| worker.register_fn(WORK, |n: u32| async move { n })).await;
    for (n, handle) in (0..).zip(handles) {
        match n {
            700 | 1_900 => assert_eq!(handle.unwrap_err().kind(), ErrorKind::Invalid),
            _ => assert_eq!(handle.unwrap().result().await.unwrap(), n),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_the_broker_does_not_take_fails_each_of_its_calls_with_its_id() {
    let harness = Harness::new();
    harness.broker_faults().fail_before(BrokerCall::Publish, 2, ErrorKind::Unavailable);
    let handles = harness.client().enqueue_many((0..1_500).map(|n| WORK.call((n,)))).await;
    let (taken, failed): (Vec<_>, Vec<_>) = handles.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), failed.len()), (1_000, 500));
    for error in failed {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable() && error.task_id().is_some());
    }
    assert_eq!(harness.broker().counts().queued, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_calls_share_a_few_round_trips() {
    let harness = Harness::new();
    harness.broker_faults().delay(BrokerCall::Publish, 1, millis(5));
    let handles = join_all((0..1_000).map(|n| harness.enqueue(WORK.call((n,))))).await;
    assert!(handles.into_iter().all(|handle| handle.unwrap().is_new()));
    assert_eq!(harness.broker().counts().queued, 1_000);
    let calls = harness.broker_faults().calls(BrokerCall::Publish);
    assert!(calls <= 3, "{calls} round trips");
}

#[tokio::test(start_paused = true)]
async fn a_lone_call_is_sent_at_once() {
    let harness = Harness::new();
    let start = tokio::time::Instant::now();
    harness.enqueue(WORK.call((1,))).await.unwrap();
    assert!(start.elapsed() < millis(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_stay_within_the_bytes_of_one_batch() {
    let publishes = Log::new();
    let broker = Weighed { inner: MemoryBroker::new(), publishes: publishes.clone() };
    let client = client(Arc::new(broker), None);
    let large = "x".repeat(PAYLOAD_BYTES - 100);
    let handles = join_all((0..12).map(|_| client.enqueue(STORE.call((large.clone(),))))).await;
    assert!(handles.iter().all(Result::is_ok));
    let largest = publishes.all().into_iter().max().unwrap();
    assert!(largest <= BATCH_BYTES, "{largest} B in one call, at most {BATCH_BYTES} B are allowed");
}

#[tokio::test(start_paused = true)]
async fn many_large_calls_stay_within_the_bytes_of_one_batch() {
    let publishes = Log::new();
    let broker = Weighed { inner: MemoryBroker::new(), publishes: publishes.clone() };
    let client = client(Arc::new(broker), None);
    let large = "x".repeat(PAYLOAD_BYTES - 100);
    let handles = client.enqueue_many((0..12).map(|_| STORE.call((large.clone(),)))).await;
    assert!(handles.iter().all(Result::is_ok));
    let largest = publishes.all().into_iter().max().unwrap();
    assert!(largest <= BATCH_BYTES, "{largest} B in one call, at most {BATCH_BYTES} B are allowed");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_there_gives_a_handle_to_the_same_task() {
    let harness = Harness::new();
    let first = harness.enqueue(WORK.call((1,)).id("invoice:7")).await.unwrap();
    let second = harness.enqueue(WORK.call((2,)).id("invoice:7")).await.unwrap();
    assert!(first.is_new() && !second.is_new());
    assert_eq!(first.id(), second.id());
    let runs = Log::new();
    let log = runs.clone();
    let work = move |n: u32| {
        log.push(n);
        async move { n }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    assert_eq!((first.result().await.unwrap(), second.result().await.unwrap()), (1, 1));
    // It is remembered after its end.
    let third = harness.enqueue(WORK.call((3,)).id("invoice:7")).await.unwrap();
    assert!(!third.is_new());
    assert_eq!(third.result().await.unwrap(), 1);
    harness.drain().await;
    assert_eq!(runs.all(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_taken_anew_after_it_was_forgotten_gives_the_new_result() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, |n: u32| async move { n })).await;
    assert_eq!(harness.run(WORK.call((1,)).id("nightly")).await.unwrap(), 1);
    harness.pass(HOUR * 2).await;
    let again = harness.enqueue(WORK.call((2,)).id("nightly")).await.unwrap();
    harness.drain().await;
    let wanted = if again.is_new() { 2 } else { 1 };
    assert_eq!(again.result().await.unwrap(), wanted, "is_new: {}", again.is_new());
}

#[tokio::test(start_paused = true)]
async fn an_id_whose_task_was_cancelled_is_either_taken_or_new() {
    let harness = Harness::new();
    let first = harness.enqueue(WORK.call((1,)).id("invoice:7")).await.unwrap();
    first.cancel().await.unwrap();
    let again = harness.enqueue(WORK.call((2,)).id("invoice:7")).await.unwrap();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, |n: u32| async move { n })).await;
    harness.drain().await;
    // Either it is the old task, which is cancelled, or a new one, which has a result.
    assert_eq!(again.result().await.ok(), again.is_new().then_some(2));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_got_lost_can_be_sent_again() {
    let harness = Harness::new();
    harness.broker_faults().fail_after(BrokerCall::Publish, 1);
    let error = harness.enqueue(WORK.call((1,))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    let id = error.task_id().expect("the error names the id").to_string();
    let again = harness.enqueue(WORK.call((1,)).id(id)).await.unwrap();
    assert!(!again.is_new());
    assert_eq!(harness.broker().counts().queued, 1);
}
