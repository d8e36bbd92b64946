//! The largest payload.

use std::sync::Arc;

use bytes::Bytes;
use windlass_core::{Broker, ErrorKind, PublishOutcome};

use super::scene::{LONG, Scene, ids, message_of};
use crate::fixture;

/// A payload as large as the capabilities allow arrives.
pub async fn the_largest_payload_arrives(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let payload = Bytes::from(vec![0xA5; scene.broker.capabilities().max_payload]);
    let message = fixture::message(&scene.queue, payload.clone());
    scene.publish(std::slice::from_ref(&message)).await;
    let delivery = scene.take_one(LONG).await;
    assert!(message_of(&delivery).payload == payload, "{} B arrived", message_of(&delivery).payload.len());
    scene.acknowledge(&delivery).await;
}

/// A payload above the limit is refused with both sizes in the text, and the rest of its batch is accepted.
pub async fn a_payload_above_the_limit_is_refused_alone(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let limit = scene.broker.capabilities().max_payload;
    let large = fixture::message(&scene.queue, vec![0xA5; limit + 1]);
    let batch = [scene.message("1"), large.clone(), scene.message("2")];
    let outcomes = scene.outcomes(&batch).await;
    let [PublishOutcome::Accepted, PublishOutcome::Rejected(error), PublishOutcome::Accepted] = &outcomes[..] else {
        panic!("the second of three is too large: {outcomes:?}");
    };
    assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Rejected), "{error:?}");
    assert!(!error.is_retryable(), "it will be too large the next time, too: {error:?}");
    assert_eq!(error.task_id(), Some(&large.id), "{error:?}");
    for size in [limit, limit + 1] {
        assert!(error.to_string().contains(&size.to_string()), "the text names {size}: {error}");
    }
    assert_eq!(ids(&scene.take(2, LONG).await), [batch[0].id.clone(), batch[2].id.clone()]);
    scene.nothing().await;
}
