//! Removing a message that waits.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Broker, CancelOutcome, Message, Schedule, TaskId};

use super::scene::{LONG, Scene, ids, retry};
use crate::fixture;

async fn cancel(scene: &Scene, id: &TaskId) -> CancelOutcome {
    scene.broker.cancel(&scene.queue, id).await.expect("cancel answers")
}

/// A message that waits can be cancelled; it never comes, the others do, and its id is free.
pub async fn a_waiting_message_can_be_cancelled(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 3);
    scene.publish(&messages).await;
    assert_eq!(cancel(&scene, &messages[1].id).await, CancelOutcome::Cancelled);
    assert_eq!(cancel(&scene, &messages[1].id).await, CancelOutcome::NotFound, "it is gone");
    scene.is_at(&messages[1].id, None).await;
    assert_eq!(ids(&scene.take(2, LONG).await), [messages[0].id.clone(), messages[2].id.clone()]);
    scene.nothing().await;
    scene.publish(&messages[1..2]).await;
    assert_eq!(scene.take_one(LONG).await.receipt.id, messages[1].id);
}

/// A delayed message and a retry that waits can be cancelled.
pub async fn what_waits_for_its_time_can_be_cancelled(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let pause = scene.span(Duration::from_secs(1));
    let delayed = Message { schedule: Schedule::After(pause), ..scene.message("1") };
    let failed = scene.message("2");
    scene.publish(&[failed.clone(), delayed.clone()]).await;
    let delivery = scene.take_one(LONG).await;
    scene.settle_one(retry(&delivery, pause)).await;
    for id in [&delayed.id, &failed.id] {
        assert_eq!(cancel(&scene, id).await, CancelOutcome::Cancelled);
    }
    scene.nothing_for(pause + Duration::from_millis(200)).await;
}

/// A message that a worker has is left to it.
pub async fn a_running_message_is_not_cancelled(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [id] = scene.publish_each(["1"]).await;
    let delivery = scene.take_one(LONG).await;
    assert_eq!(cancel(&scene, &id).await, CancelOutcome::Running);
    scene.acknowledge(&delivery).await;
}

/// What is finished, dead or was never there is not found.
pub async fn only_what_waits_is_cancelled(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    assert_eq!(cancel(&scene, &fixture::task_id()).await, CancelOutcome::NotFound);
    let [done, dead] = scene.publish_each(["1", "2"]).await;
    let taken = scene.take(2, LONG).await;
    scene.acknowledge(&taken[0]).await;
    scene.bury(&taken[1..], "reason").await;
    assert_eq!(cancel(&scene, &done).await, CancelOutcome::NotFound);
    assert_eq!(cancel(&scene, &dead).await, CancelOutcome::NotFound);
    if scene.broker.capabilities().dead_letters {
        assert_eq!(scene.dead_letters(10).await.len(), 1, "it is still listed");
    }
}
