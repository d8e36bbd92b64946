//! Queues that are paused and resumed.

use std::sync::Arc;

use tokio::time::Instant;
use windlass_core::{Backend, ErrorKind, Expected, NoteChange, NoteKey, Retention};
use windlass_runtime::Client;
use windlass_testing::{Harness, MemoryBackend, MemoryBroker};

use crate::support::{Log, Mute, Node, WORK, client, default_queue, millis, secs, until};

#[tokio::test(start_paused = true)]
async fn a_paused_queue_is_left_alone_by_every_worker_until_it_is_resumed() {
    let harness = Harness::new();
    let queue = harness.client().queue("default").unwrap();
    assert!(!queue.is_paused().await.unwrap());
    let worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);

    queue.pause().await.unwrap();
    assert!(queue.is_paused().await.unwrap());
    harness.pass("100ms").await;
    let waiting = harness.enqueue(WORK.call((2,))).await.unwrap();
    let late = Node::beside(&harness);
    let later = late.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    harness.pass("1h").await;
    assert_eq!(harness.broker().counts().queued, 1, "neither takes it");
    assert!(late.client.queue("default").unwrap().is_paused().await.unwrap());

    let start = Instant::now();
    late.client.queue("default").unwrap().resume().await.unwrap();
    assert_eq!(waiting.result().await.unwrap(), 2);
    assert!(start.elapsed() < millis(100), "{:?}", start.elapsed());
    assert!(!queue.is_paused().await.unwrap());
    assert_eq!(worker.shutdown().await.succeeded + later.shutdown().await.succeeded, 2);
    assert!(harness.backend().notebook().unwrap().list("queue", None, 10).await.unwrap().notes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_runs_goes_on_and_other_queues_too() {
    let harness = Harness::new();
    let work = |n: u32| async move {
        tokio::time::sleep(secs(10)).await;
        n
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).queue("a", 1).queue("b", 1)).await;
    let runs = harness.enqueue(WORK.call((1,)).queue("a")).await.unwrap();
    harness.pass("1s").await;
    harness.client().queue("a").unwrap().pause().await.unwrap();
    let held = harness.enqueue(WORK.call((2,)).queue("a")).await.unwrap();
    assert_eq!(harness.run(WORK.call((3,)).queue("b")).await.unwrap(), 3);
    assert_eq!(runs.result().await.unwrap(), 1);
    assert!(held.result_within(secs(60)).await.is_err());
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_ahead_is_given_back_uncounted() {
    let harness = Harness::new();
    let begun = Log::new();
    let log = begun.clone();
    // Short at first, so that much is fetched ahead, and then long.
    let work = move |n: u32| {
        log.push(n);
        async move {
            if n >= 100 {
                tokio::time::sleep(millis(50)).await;
            }
            n
        }
    };
    let calls = (0..400).map(|n| WORK.call((n,)));
    for handle in harness.client().enqueue_many(calls).await {
        handle.unwrap();
    }
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).concurrency(1)).await;
    until("the long ones have begun", || begun.len() > 100).await;
    assert!(harness.broker().counts().running > 1, "something is fetched ahead");
    harness.client().queue("default").unwrap().pause().await.unwrap();
    harness.pass("60ms").await;
    let counts = harness.broker().counts();
    assert_eq!(counts.running, 0, "{counts:?}");
    let done = begun.len();
    harness.pass("10s").await;
    assert_eq!(begun.len(), done, "nothing begins");
    assert!(harness.broker().waiting().len() == 400 - done);
    harness.client().queue("default").unwrap().resume().await.unwrap();
    harness.drain().await;
    assert_eq!(begun.all(), (0..400).collect::<Vec<_>>(), "in the order of the queue, each once");
    let report = worker.shutdown().await;
    assert_eq!((report.succeeded, report.lost), (400, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_whose_signal_is_lost_is_seen_within_seconds_by_one_read_for_all_queues() {
    let harness = Harness::new();
    let worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    harness.pass("1s").await;
    note(harness.backend(), true).await;
    harness.pass("11s").await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("1h").await;
    assert_eq!(harness.broker().counts().queued, 1);
    note(harness.backend(), false).await;
    let start = Instant::now();
    assert_eq!(handle.result().await.unwrap(), 1);
    assert!(start.elapsed() <= secs(11), "{:?}", start.elapsed());
    worker.shutdown().await;
}

/// Notes a pause as another program would, and tells nobody.
async fn note(backend: &MemoryBackend, paused: bool) {
    let key = NoteKey::new("queue", default_queue().as_str()).unwrap();
    let value = paused.then(|| "paused".into());
    let change = NoteChange { key, expected: Expected::Anything, value, keep: Retention::Forever };
    backend.notebook().unwrap().write(&[change]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_shared_places_the_others_get_those_of_a_paused_queue() {
    use windlass_runtime::QueueOrder;
    let harness = Harness::new();
    let work = |n: u32| async move {
        tokio::time::sleep(secs(1)).await;
        n
    };
    for queue in ["a", "b"] {
        for handle in harness.client().enqueue_many((0..20).map(|n| WORK.call((n,)).queue(queue))).await {
            handle.unwrap();
        }
    }
    harness.client().queue("a").unwrap().pause().await.unwrap();
    let start = Instant::now();
    let worker = harness
        .worker(|worker| {
            let worker = worker.register_fn(WORK, work).queue("a", 10).queue("b", 10).weight("a", 2);
            worker.order(QueueOrder::Strict).total(4)
        })
        .await;
    until("b is done", || harness.broker().waiting().len() == 20 && harness.broker().counts().running == 0).await;
    assert!(start.elapsed() < secs(6), "{:?}", start.elapsed());
    harness.client().queue("a").unwrap().resume().await.unwrap();
    harness.drain().await;
    assert!(start.elapsed() < secs(12), "{:?}", start.elapsed());
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_look_begins_when_it_can() {
    let harness = Harness::new();
    harness.client().queue("default").unwrap().pause().await.unwrap();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.backend_faults().outage(true);
    let worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    harness.pass("1m").await;
    harness.backend_faults().outage(false);
    harness.pass("1m").await;
    assert_eq!(harness.broker().counts().queued, 1, "it was paused all along");
    harness.client().queue("default").unwrap().resume().await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 1);
    worker.shutdown().await;
}

async fn refused(client: &Client, parts: &[&str]) {
    let queue = client.queue("mail").unwrap();
    for error in
        [queue.pause().await.unwrap_err(), queue.resume().await.unwrap_err(), queue.is_paused().await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_place_for_notes_a_pause_is_refused_with_the_cure() {
    let broker = Arc::new(MemoryBroker::new());
    refused(&client(broker.clone(), None), &["paused queue", "there is none", "set backend.url"]).await;
    let mute = Arc::new(Mute(MemoryBackend::new()));
    let client = client(broker, Some(mute));
    refused(&client, &["memory keeps no notes", "set backend.url"]).await;
    // A worker over it works as ever.
    let worker = crate::support::builder(&client).register_fn(WORK, async |n: u32| n).start().await.unwrap();
    assert_eq!(client.enqueue(WORK.call((4,))).await.unwrap().result().await.unwrap(), 4);
    worker.shutdown().await;
    assert_eq!(client.queue("a b").unwrap_err().kind(), ErrorKind::Invalid);
}
