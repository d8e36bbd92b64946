//! What is accepted arrives, and as it was.

use std::sync::Arc;

use windlass_core::{Broker, Message, Schedule};

use super::scene::{LONG, Scene, ids, message_of};
use crate::fixture;

async fn arrives(scene: &Scene, message: Message) {
    scene.publish(std::slice::from_ref(&message)).await;
    let delivery = scene.take_one(LONG).await;
    assert_eq!(delivery.receipt.id, message.id);
    assert_eq!(delivery.receipt.queue, scene.queue);
    assert_eq!(delivery.progress, Default::default(), "a fresh message has been through nothing");
    assert_eq!(message_of(&delivery), &Message { schedule: Schedule::Now, ..message });
    scene.acknowledge(&delivery).await;
    scene.nothing().await;
}

/// A message arrives as it was sent.
pub async fn a_message_arrives(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    arrives(&scene, scene.message("[2,3]")).await;
}

/// Payloads are bytes and arrive bit by bit.
pub async fn a_binary_payload_arrives_unchanged(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    arrives(&scene, fixture::message(&scene.queue, fixture::binary())).await;
}

/// Digits that a script or a page would round arrive as they were.
pub async fn numbers_are_not_rounded(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    arrives(&scene, scene.message("[18446744073709551615, -0, 1e400, 0.1, 12345678901234567890123]")).await;
}

/// A payload may be empty.
pub async fn an_empty_payload_arrives(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    arrives(&scene, scene.message("")).await;
}

/// A payload of 1 MiB arrives, unless the capabilities allow less.
pub async fn a_large_payload_arrives(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let size = u32::try_from(scene.broker.capabilities().max_payload).map_or(1 << 20, |most| most.min(1 << 20));
    let payload: Vec<u8> = (0..size).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    arrives(&scene, fixture::message(&scene.queue, payload)).await;
}

/// Every option and header travels.
pub async fn options_and_headers_arrive(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = Message { options: fixture::every_option(), ..scene.message("[]") };
    arrives(&scene, Message { remember: Some(crate::conformance::millis(60_000)), ..message }).await;
}

/// Fields of a later version are passed on.
pub async fn unknown_fields_arrive(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let unknown = vec![("x-later".to_owned(), "1 2=3\n%".to_owned()), ("y".to_owned(), String::new())];
    arrives(&scene, Message { unknown, ..scene.message("[]") }).await;
}

/// An id may be a text that the caller chose.
pub async fn an_id_of_the_caller_arrives(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let id = format!("invoice:2026-11_{}", fastrand::u64(..)).parse().expect("a valid id");
    arrives(&scene, Message { id, ..scene.message("[]") }).await;
}

/// A queue delivers its own messages and no others.
pub async fn queues_are_separate(broker: Arc<dyn Broker>) {
    let (one, two) = (Scene::new(Arc::clone(&broker)), Scene::new(broker));
    let messages = [one.message("1"), two.message("2"), one.message("3")];
    one.publish(&messages).await;
    assert_eq!(ids(&one.take(2, LONG).await), [messages[0].id.clone(), messages[2].id.clone()]);
    assert_eq!(ids(&two.take(1, LONG).await), [messages[1].id.clone()]);
    one.nothing().await;
    two.nothing().await;
}

/// Publishing nothing answers nothing.
pub async fn publishing_nothing_is_nothing(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish(&[]).await;
    scene.nothing().await;
}
