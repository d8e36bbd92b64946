//! Bytes that are no message, such as those of a later version.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windlass_core::message::wire;
use windlass_core::{Broker, Delivery, Disposition, Message, Progress, Settlement};

use super::scene::{LONG, Scene, ids, message_of, settlement};

impl Scene {
    /// A message whose bytes cannot be read again: a field whose name ends its line is written as it is.
    fn broken(&self) -> Message {
        Message { unknown: vec![("not a field\n".to_owned(), String::new())], ..self.message("rest") }
    }
}

/// The delivery holds exactly these bytes, and says why they are no message.
fn is_undecodable(delivery: &Delivery, bytes: &[u8]) {
    let undecodable = delivery.content.as_ref().expect_err("these bytes are no message");
    assert_eq!(undecodable.bytes, bytes, "the bytes as they came");
    assert!(undecodable.malformed.to_string().contains("expected name=value at byte"), "{}", undecodable.malformed);
}

/// Bytes that are no message are delivered as such, and do not hold up the others.
pub async fn bytes_that_are_no_message_are_delivered_as_such(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let (broken, whole) = (scene.broken(), scene.message("2"));
    scene.publish(&[broken.clone(), whole.clone()]).await;
    let deliveries = scene.take(2, LONG).await;
    assert_eq!(ids(&deliveries), [broken.id.clone(), whole.id]);
    is_undecodable(&deliveries[0], &wire::encode(&broken));
    assert_eq!(message_of(&deliveries[1]).payload, Bytes::from_static(b"2"));
    scene.acknowledge(&deliveries[0]).await;
}

/// Bytes that are no message can be put back for a worker that knows them, and come again unchanged.
pub async fn bytes_that_are_no_message_can_be_put_back(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let broken = scene.broken();
    scene.publish(std::slice::from_ref(&broken)).await;
    for parks in 0..3 {
        let delivery = scene.take_one(LONG).await;
        assert_eq!((&delivery.receipt.id, delivery.progress.parks), (&broken.id, parks));
        is_undecodable(&delivery, &wire::encode(&broken));
        let progress = Progress { parks: parks + 1, ..delivery.progress };
        let requeue = settlement(&delivery, Disposition::Requeue { after: Duration::ZERO });
        scene.settle_one(Settlement { progress, ..requeue }).await;
    }
}

/// Bytes that are no message are kept among the dead letters as they came, and replayed so.
pub async fn a_dead_letter_that_is_no_message_keeps_its_bytes(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let broken = scene.broken();
    scene.publish(std::slice::from_ref(&broken)).await;
    scene.bury(&[scene.take_one(LONG).await], "not a message").await;
    let letters = scene.dead_letters(10).await;
    let undecodable = letters[0].content.as_ref().expect_err("these bytes are no message");
    assert_eq!(undecodable.bytes, wire::encode(&broken));
    let replayed = scene.broker.replay(&scene.queue, &[broken.id.clone().into()]).await;
    assert_eq!(replayed.expect("replay answers"), 1);
    is_undecodable(&scene.take_one(LONG).await, &wire::encode(&broken));
}
