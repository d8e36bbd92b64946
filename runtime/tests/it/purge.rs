//! Queues that are purged.

use std::sync::Arc;

use bytes::Bytes;
use windlass_core::{Backend, ErrorKind, Priority, Record, Retention, State, TaskDef};
use windlass_runtime::ResultError;
use windlass_testing::fault::{BackendCall, BrokerCall};
use windlass_testing::{Harness, MemoryBroker, fixture};

use crate::support::{WORK, claim, client, dead, default_queue, secs, until};

const OTHER: TaskDef<(), u32> = TaskDef::new("other");

async fn enqueue(harness: &Harness, count: u32) {
    let level = |n: u32| Priority::ALL[n as usize % 4];
    for handle in harness.client().enqueue_many((0..count).map(|n| WORK.call((n,)).priority(level(n)))).await {
        handle.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_removes_what_waits_and_tells_who_waits_for_it() {
    let harness = Harness::new();
    enqueue(&harness, 1_200).await;
    let handle = harness.enqueue(WORK.call((1,)).id("mine")).await.unwrap();
    let scheduled = harness.enqueue(WORK.call((2,)).delay("1h")).await.unwrap();
    let elsewhere = harness.enqueue(WORK.call((3,)).queue("other")).await.unwrap();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.result().await }
    });
    assert_eq!(harness.client().queue("default").unwrap().purge().await.unwrap(), 1_201);
    let told = waiting.await.unwrap().unwrap_err();
    assert!(matches!(&told, ResultError::Cancelled { reason: Some(reason), .. } if reason == "purged"), "{told}");
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Cancelled);
    let counts = harness.broker().counts();
    assert_eq!((counts.queued, counts.running, counts.scheduled, counts.dead), (1, 0, 1, 0));
    assert_eq!(harness.client().queue("default").unwrap().purge().await.unwrap(), 0);
    let worker =
        harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n).queue("default", 1).queue("other", 1));
    let worker = worker.await;
    assert_eq!((scheduled.result().await.unwrap(), elsewhere.result().await.unwrap()), (2, 3));
    assert_eq!(worker.shutdown().await.succeeded, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_enqueued_meanwhile_stays_in_its_order() {
    let harness = Harness::new();
    enqueue(&harness, 600).await;
    harness.broker_faults().delay(BrokerCall::Fetch, 1, secs(1));
    let queue = harness.client().queue("default").unwrap();
    let purge = tokio::spawn(async move { queue.purge().await });
    harness.pass("500ms").await;
    for n in 1_000..1_100 {
        harness.enqueue(WORK.call((n,)).priority(Priority::Critical)).await.unwrap();
    }
    assert_eq!(purge.await.unwrap().unwrap(), 600);
    let log = crate::support::Log::new();
    let runs = log.clone();
    let work = move |n: u32| {
        runs.push(n);
        async move { n }
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).concurrency(1)).await;
    harness.drain().await;
    assert_eq!(log.all(), (1_000..1_100).collect::<Vec<_>>());
    assert_eq!(worker.shutdown().await.succeeded, 100);
}

#[tokio::test(start_paused = true)]
async fn what_runs_and_what_is_dead_stays() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        tokio::time::sleep(secs(10)).await;
        if n == 0 { Err("no") } else { Ok(n) }
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).concurrency(1)).await;
    harness.enqueue(WORK.call((0,)).max_retries(0)).await.unwrap();
    let runs = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("15s").await;
    let waits = harness.enqueue(WORK.call((2,))).await.unwrap();
    assert_eq!(harness.client().queue("default").unwrap().purge().await.unwrap(), 1);
    assert_eq!(runs.result().await.unwrap(), 1);
    assert!(matches!(waits.result().await, Err(ResultError::Cancelled { .. })));
    assert_eq!(dead(&harness).await.len(), 1);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_fails_loses_nothing_and_can_be_repeated() {
    let harness = Harness::new();
    let queue = harness.client().queue("default").unwrap();
    enqueue(&harness, 700).await;
    harness.backend_faults().fail_before(BackendCall::Save, 2, ErrorKind::Unavailable);
    assert_eq!(queue.purge().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let counts = harness.broker().counts();
    assert_eq!((counts.queued, counts.running), (200, 0), "what was not removed is given back");
    assert!(harness.broker().waiting().iter().all(|(message, _)| message.enqueued_at.as_millis() > 0));
    harness.broker_faults().outage(true);
    assert!(queue.purge().await.unwrap_err().is_retryable());
    harness.broker_faults().outage(false);
    assert_eq!(queue.purge().await.unwrap(), 200);
    assert_eq!(harness.broker().counts().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_is_dropped_leaves_no_claim_behind() {
    let harness = Harness::new();
    enqueue(&harness, 2_000).await;
    let queue = harness.client().queue("default").unwrap();
    harness.backend_faults().delay(BackendCall::Save, 2, secs(5));
    assert!(tokio::time::timeout(secs(1), queue.purge()).await.is_err());
    until("the batch under way has ended", || harness.broker().counts().running == 0).await;
    assert_eq!(harness.broker().counts().queued, 1_000, "two batches were begun");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_message_are_left_to_a_worker_and_hide_nothing() {
    let harness = Harness::new();
    for _ in 0..600 {
        harness.broker().push_raw(&default_queue(), &fixture::task_id(), fixture::binary());
    }
    enqueue(&harness, 100).await;
    assert_eq!(harness.client().queue("default").unwrap().purge().await.unwrap(), 100);
    assert_eq!(harness.broker().counts().queued, 600);
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_a_purge_removes_all_the_same() {
    let broker = MemoryBroker::new();
    let client = client(Arc::new(broker.clone()), None);
    for _ in 0..10 {
        client.enqueue(OTHER.call(())).await.unwrap();
    }
    assert_eq!(client.queue("default").unwrap().purge().await.unwrap(), 10);
    assert!(broker.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_workflow_of_which_a_task_is_purged_ends() {
    let harness = Harness::new();
    let flow = harness.client().enqueue_flow(WORK.call((1,)).then(WORK.step(()))).await.unwrap();
    assert_eq!(harness.client().queue("default").unwrap().purge().await.unwrap(), 1);
    assert!(harness.broker().is_empty());
    let told = flow.result_within(secs(10)).await.unwrap_err();
    assert!(!matches!(told, ResultError::Timeout { .. }), "{told}");
    assert!(told.to_string().contains("purged"), "{told}");
}

/// A worker has saved the result, and was lost before it could tell the broker.
async fn saved_by_a_lost_worker(harness: &Harness, result: &'static str) {
    for delivery in claim(harness, secs(3)).await {
        let receipt = delivery.receipt;
        let record = Record {
            id: receipt.id,
            token: receipt.token,
            result: Some(Bytes::from(result)),
            ..fixture::record(State::Succeeded)
        };
        harness.backend().save(&[record]).await.unwrap();
    }
    harness.pass("4s").await;
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_already_is_left_to_a_worker() {
    let harness = Harness::new();
    let flow = harness.client().enqueue_flow(WORK.call((1,)).then(WORK.step(()))).await.unwrap();
    saved_by_a_lost_worker(&harness, "41").await;
    assert_eq!(harness.client().queue("default").unwrap().purge().await.unwrap(), 0);
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n + 1)).await;
    assert_eq!(flow.result_within(secs(60)).await.unwrap(), 42);
    harness.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_already_is_not_moved_and_does_not_run_again() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    saved_by_a_lost_worker(&harness, "41").await;
    // A claim of this one was lost too, and it has not ended.
    let waits = harness.enqueue(WORK.call((5,))).await.unwrap();
    assert_eq!(claim(&harness, secs(3)).await.len(), 2);
    harness.pass("4s").await;
    assert_eq!(harness.client().queue("default").unwrap().move_to("other").await.unwrap(), 1);
    let runs = crate::support::Log::new();
    let log = runs.clone();
    let work = move |n: u32| {
        log.push(n);
        async move { n }
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).queue("default", 1).queue("other", 1)).await;
    assert_eq!((handle.result().await.unwrap(), waits.result().await.unwrap()), (41, 5));
    harness.drain().await;
    assert_eq!(runs.all(), [5]);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn it_is_known_for_as_long_as_a_workflow_that_a_task_of_it_was_purged() {
    let harness = Harness::new();
    let call = WORK.call((1,)).status_ttl(Retention::None);
    let flow = harness.client().enqueue_flow(call.then(WORK.step(()))).await.unwrap();
    let task = flow.task::<u32>(0).await.unwrap().unwrap();
    assert_eq!(harness.client().queue("default").unwrap().purge().await.unwrap(), 1);
    harness.pass("48h").await;
    assert_eq!(task.status().await.unwrap().map(|status| status.state), Some(State::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_purge_whose_answer_was_lost_is_ended_by_the_next_one() {
    let harness = Harness::new();
    enqueue(&harness, 3).await;
    let queue = harness.client().queue("default").unwrap();
    harness.backend_faults().lose_answer(BackendCall::Save, 1);
    assert!(queue.purge().await.is_err());
    assert_eq!(queue.purge().await.unwrap(), 3);
    assert!(harness.broker().is_empty());
}
