//! In which order messages come, and how many.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{Broker, Message};

use super::scene::{LONG, Scene, ids, message_of};
use crate::conformance::{PATIENCE, millis};
use crate::fixture;

fn ids_of(messages: &[Message]) -> Vec<windlass_core::TaskId> {
    messages.iter().map(|message| message.id.clone()).collect()
}

/// First in, first out, within and across calls.
pub async fn first_in_first_out(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 500);
    for batch in messages.chunks(50) {
        scene.publish(batch).await;
    }
    assert_eq!(ids(&scene.finish(500).await), ids_of(&messages));
}

/// The answers to a batch are in its order.
pub async fn answers_are_in_the_order_of_the_batch(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let mut messages = fixture::messages(&scene.queue, 6);
    if scene.broker.capabilities().idempotent {
        messages[2].id = messages[0].id.clone();
        messages[5].id = messages[4].id.clone();
    }
    let outcomes = scene.outcomes(&messages).await;
    let accepted: Vec<bool> = outcomes.iter().map(windlass_core::PublishOutcome::is_accepted).collect();
    if scene.broker.capabilities().idempotent {
        assert_eq!(accepted, [true, true, false, true, true, false], "{outcomes:?}");
    } else {
        assert_eq!(accepted, [true; 6], "{outcomes:?}");
    }
}

/// Never more than was asked for.
pub async fn at_most_max_are_claimed(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 10);
    scene.publish(&messages).await;
    let mut taken = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while taken.len() < 10 {
        assert!(Instant::now() < deadline, "{} of 10 came", taken.len());
        scene.wait(millis(100)).await;
        // `fetch` checks that it is at most 3.
        taken.extend(ids(&scene.fetch(3, LONG).await));
    }
    assert_eq!(taken, ids_of(&messages));
}

/// An empty queue is answered at once.
pub async fn an_empty_queue_answers_at_once(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let start = Instant::now();
    assert!(scene.fetch(10, LONG).await.is_empty());
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
}

/// A thousand messages can be published in one call.
pub async fn a_thousand_in_one_call(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 1_000);
    scene.publish(&messages).await;
    for (number, delivery) in scene.finish(1_000).await.iter().enumerate() {
        assert_eq!(message_of(delivery).payload, number.to_string());
    }
    scene.nothing().await;
}
