//! What no run can mend goes to the dead letters with its reason.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_core::{Call, Failure, FailureKind, State, TaskDef, TaskId};
use windlass_runtime::ResultError;
use windlass_testing::{Harness, fixture};

use crate::support::{Log, WORK, dead, default_queue, secs, settings};

const OTHER: TaskDef<(), u32> = TaskDef::new("other");

async fn echo(n: u32) -> u32 {
    n
}

fn failure<O: std::fmt::Debug>(result: Result<O, ResultError>) -> Failure {
    match result.unwrap_err() {
        ResultError::Failed { failure, .. } => failure,
        other => panic!("not failed: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_no_worker_knows_waits_for_one_that_does() {
    let harness = Harness::new();
    let old = harness.worker(|worker| worker.register_fn(WORK, echo)).await;
    let handle = harness.enqueue(OTHER.call(())).await.unwrap();
    harness.pass("100s").await;
    let status = handle.status().await.unwrap().unwrap();
    assert_eq!((status.state, status.attempt), (State::Scheduled, 0));
    assert_eq!(old.shutdown().await.postponed, 4);
    let _new = harness.worker(|worker| worker.register_fn(OTHER, async || 7)).await;
    assert_eq!(handle.result().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_nobody_ever_knows_is_dead_lettered_with_the_names_that_are_known() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, echo)).await;
    let start = tokio::time::Instant::now();
    let handle = harness.enqueue(OTHER.call(())).await.unwrap();
    let failure = failure(handle.result().await);
    assert_eq!(failure.kind, FailureKind::Unhandled);
    assert!(start.elapsed() >= secs(300), "parked {:?}", start.elapsed());
    harness.drain().await;
    let dead = dead(&harness).await;
    assert_eq!(dead.len(), 1);
    for part in ["other", "work"] {
        assert!(dead[0].reason.contains(part), "{}", dead[0].reason);
    }
    assert_eq!(dead[0].content.as_ref().unwrap().task.as_str(), "other");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_message_are_kept_as_they_came() {
    let harness = Harness::new();
    let worker = harness.worker(|worker| worker.register_fn(WORK, echo)).await;
    let (id, bytes) = (fixture::task_id(), fixture::binary());
    harness.broker().push_raw(&default_queue(), &id, bytes.clone());
    let handle = harness.client().handle_of::<u32>(id.clone(), default_queue());
    assert_eq!(failure(handle.result().await).kind, FailureKind::Undecodable);
    harness.drain().await;
    let dead = dead(&harness).await;
    assert_eq!(dead[0].id, id);
    assert_eq!(dead[0].content.as_ref().unwrap_err().bytes, bytes);
    assert!(dead[0].reason.contains("envelope"), "{}", dead[0].reason);
    assert_eq!(harness.run(WORK.call((3,))).await.unwrap(), 3, "the worker goes on");
    assert_eq!(worker.shutdown().await.failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_newer_version_waits_before_it_is_given_up() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, echo)).await;
    let (id, bytes) = (TaskId::new("from-the-future").unwrap(), Bytes::from_static(b"windlass/2 work\n\n[1]"));
    harness.broker().push_raw(&default_queue(), &id, bytes.clone());
    harness.pass("100s").await;
    let handle = harness.client().handle_of::<u32>(id, default_queue());
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Scheduled);
    harness.drain().await;
    let dead = dead(&harness).await;
    assert_eq!(dead[0].content.as_ref().unwrap_err().bytes, bytes);
    assert!(dead[0].reason.contains("version 2"), "{}", dead[0].reason);
    assert_eq!(dead[0].progress.parks, 10);
}

#[tokio::test(start_paused = true)]
async fn arguments_that_do_not_fit_are_not_tried_again() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |n: u32| {
        log.push(n);
        async move { n }
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    for payload in ["[\"one\"]", "[]", "[1,2]", "{}", "", "[-1]", "\u{FF}"] {
        let handle = harness.enqueue(Call::<u32>::raw("work", payload)).await.unwrap();
        let failure = failure(handle.result().await);
        assert_eq!((failure.kind, failure.attempt), (FailureKind::Arguments, 1), "{payload}: {failure}");
        assert!(failure.message.contains("arguments"), "{payload}: {failure}");
    }
    harness.drain().await;
    assert_eq!((runs.len(), dead(&harness).await.len()), (0, 7));
    assert_eq!(worker.shutdown().await.retried, 0);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_large_fails_the_task_once() {
    const GROW: TaskDef<(u32,), String> = TaskDef::new("grow");
    let harness = Harness::new();
    let mut settings = settings();
    settings.payload_limit = 100;
    let runs = Log::new();
    let log = runs.clone();
    let grow = move |n: u32| {
        log.push(n);
        async move { "x".repeat(n as usize) }
    };
    let builder = windlass_runtime::WorkerBuilder::new(harness.client(), settings);
    let _worker = builder.register_fn(GROW, grow).start().await.unwrap();
    assert_eq!(harness.run(GROW.call((98,))).await.unwrap().len(), 98);
    let failure = failure(harness.run(GROW.call((99,))).await);
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Result, 1));
    assert!(failure.message.contains("101 B") && failure.message.contains("100 B"), "{failure}");
    assert_eq!(runs.all(), [98, 99]);
    harness.drain().await;
    assert_eq!(dead(&harness).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_written_fails_the_task_once() {
    const MAP: TaskDef<(), BTreeMap<(u8, u8), u8>> = TaskDef::new("map");
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let map = move || {
        log.push(());
        async { BTreeMap::from([((1, 2), 3)]) }
    };
    let _worker = harness.worker(|worker| worker.register_fn(MAP, map)).await;
    let handle = harness.client().enqueue(Call::<u32>::raw("map", "[]")).await.unwrap();
    let failure = failure(handle.result().await);
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Result, 1));
    assert!(failure.message.contains("key must be a string"), "{failure}");
    assert_eq!(runs.len(), 1);
}
