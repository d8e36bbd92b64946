//! Many at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tokio::time::Instant;
use windlass_core::{Broker, Disposition, SettleOutcome, TaskId};

use super::scene::{LONG, Scene, message_of, settlement};
use crate::conformance::{PATIENCE, millis};
use crate::fixture;

/// Eight consumers get each of 2,000 messages exactly once.
pub async fn many_consumers_get_each_message_once(broker: Arc<dyn Broker>) {
    const MESSAGES: usize = 2_000;
    let scene = Scene::new(broker);
    let publish = async {
        for batch in fixture::messages(&scene.queue, MESSAGES).chunks(250) {
            scene.publish(batch).await;
        }
    };
    let (seen, ()) = tokio::join!(consume_all(vec![scene.clone(); 8], MESSAGES), publish);
    let mut runs: BTreeMap<TaskId, u32> = BTreeMap::new();
    for id in seen {
        *runs.entry(id).or_default() += 1;
    }
    assert_eq!(runs.len(), MESSAGES);
    let twice: Vec<_> = runs.iter().filter(|(_, runs)| **runs != 1).collect();
    assert!(twice.is_empty(), "not exactly once: {twice:?}");
    scene.nothing().await;
}

/// Consumes with each of these scenes at the same time until `count` messages were acknowledged.
pub(super) async fn consume_all(scenes: Vec<Scene>, count: usize) -> Vec<TaskId> {
    let done = Arc::new(AtomicUsize::new(0));
    let mut consumers = JoinSet::new();
    for scene in scenes {
        let done = Arc::clone(&done);
        consumers.spawn(async move { consume(&scene, &done, count).await });
    }
    consumers.join_all().await.into_iter().flatten().collect()
}

async fn consume(scene: &Scene, done: &AtomicUsize, until: usize) -> Vec<TaskId> {
    let deadline = Instant::now() + 2 * PATIENCE;
    let mut seen = Vec::new();
    while done.load(Ordering::SeqCst) < until {
        assert!(Instant::now() < deadline, "{} of {until} messages came", done.load(Ordering::SeqCst));
        let deliveries = scene.fetch(32, LONG).await;
        if deliveries.is_empty() {
            scene.wait(millis(100)).await;
            continue;
        }
        let batch: Vec<_> = deliveries.iter().map(|one| settlement(one, Disposition::Acknowledge)).collect();
        let outcomes = scene.settle(&batch).await;
        assert!(outcomes.iter().all(|outcome| *outcome == SettleOutcome::Settled), "{outcomes:?}");
        done.fetch_add(deliveries.len(), Ordering::SeqCst);
        seen.extend(deliveries.into_iter().map(|delivery| delivery.receipt.id));
    }
    seen
}

/// Eight publishers at once lose nothing, and the messages of each stay in their order.
pub async fn many_publishers_lose_nothing(broker: Arc<dyn Broker>) {
    const EACH: usize = 200;
    let scene = Scene::new(broker);
    let mut publishers = JoinSet::new();
    for publisher in 0..8 {
        let scene = scene.clone();
        publishers.spawn(async move {
            let message = |number| fixture::message(&scene.queue, format!("{publisher} {number}"));
            let messages: Vec<_> = (0..EACH).map(message).collect();
            for batch in messages.chunks(10) {
                scene.publish(batch).await;
            }
        });
    }
    publishers.join_all().await;
    let mut next = [0; 8];
    for delivery in scene.finish(8 * EACH).await {
        let payload = String::from_utf8(message_of(&delivery).payload.to_vec()).expect("it was text");
        let (publisher, number) = payload.split_once(' ').expect("two numbers");
        let next = &mut next[publisher.parse::<usize>().expect("a number")];
        assert_eq!(number.parse(), Ok(*next), "publisher {publisher}");
        *next += 1;
    }
    assert_eq!(next, [EACH; 8]);
    scene.nothing().await;
}
