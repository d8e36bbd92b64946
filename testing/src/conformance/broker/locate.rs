//! Finding a message and removing it.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Broker, CancelOutcome, Clock, Disposition, Location, Message, Schedule, TaskId};

use super::scene::{LONG, Scene, ids, refuses, retry, settlement};
use crate::TokioClock;
use crate::conformance::distance;
use crate::fixture;

const HOUR: Duration = Duration::from_secs(3_600);
/// How far the clocks of broker and test may be apart.
const SKEW: Duration = Duration::from_secs(30);

async fn can_locate(scene: &Scene) -> bool {
    if !scene.broker.capabilities().locate {
        refuses(scene.broker.locate(&scene.queue, &fixture::task_id()).await);
        return false;
    }
    true
}

async fn can_cancel(scene: &Scene) -> bool {
    if !scene.broker.capabilities().cancel {
        refuses(scene.broker.cancel(&scene.queue, &fixture::task_id()).await);
        return false;
    }
    true
}

async fn cancel(scene: &Scene, id: &TaskId) -> CancelOutcome {
    scene.broker.cancel(&scene.queue, id).await.expect("cancel answers")
}

async fn is_scheduled(scene: &Scene, id: &TaskId, expected_retrying: bool) {
    let place = scene.broker.locate(&scene.queue, id).await.expect("locate answers");
    let Some(Location::Scheduled { due, retrying }) = place else { panic!("{id} is at {place:?}") };
    let away = distance(due, TokioClock.now().plus(HOUR));
    assert!(away < SKEW, "due {away:?} away from in an hour");
    assert_eq!(retrying, expected_retrying);
}

/// A message is found in every place of its life, and nowhere after it.
pub async fn a_message_is_found_wherever_it_is(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    if !can_locate(&scene).await {
        return;
    }
    scene.is_at(&fixture::task_id(), None).await;
    let [id] = scene.publish_each(["1"]).await;
    scene.is_at(&id, Some(Location::Queued)).await;
    let delivery = scene.take_one(LONG).await;
    scene.is_at(&id, Some(Location::Running)).await;
    scene.settle_one(settlement(&delivery, Disposition::Release)).await;
    scene.is_at(&id, Some(Location::Queued)).await;
    scene.acknowledge(&scene.take_one(LONG).await).await;
    scene.is_at(&id, None).await;
}

/// A delayed message, a snoozed one and a retry are told apart.
pub async fn what_waits_for_its_time_is_found_with_its_time(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    if !(can_locate(&scene).await && scene.broker.capabilities().delay) {
        return;
    }
    let delayed = Message { schedule: Schedule::After(HOUR), ..scene.message("1") };
    scene.publish(std::slice::from_ref(&delayed)).await;
    is_scheduled(&scene, &delayed.id, false).await;
    let [snoozed, failed] = scene.publish_each(["2", "3"]).await;
    let taken = scene.take(2, LONG).await;
    scene.settle_one(settlement(&taken[0], Disposition::Requeue { after: HOUR })).await;
    scene.settle_one(retry(&taken[1], HOUR)).await;
    is_scheduled(&scene, &snoozed, false).await;
    is_scheduled(&scene, &failed, true).await;
}

/// A message that waits can be cancelled; it never comes, the others do, and its id is free.
pub async fn a_waiting_message_can_be_cancelled(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    if !can_cancel(&scene).await {
        return;
    }
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
    if !(can_cancel(&scene).await && scene.broker.capabilities().delay) {
        return;
    }
    let pause = Duration::from_secs(2);
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
    if !can_cancel(&scene).await {
        return;
    }
    let [id] = scene.publish_each(["1"]).await;
    let delivery = scene.take_one(LONG).await;
    assert_eq!(cancel(&scene, &id).await, CancelOutcome::Running);
    scene.acknowledge(&delivery).await;
}

/// What is finished, dead or was never there is not found.
pub async fn only_what_waits_is_cancelled(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    if !can_cancel(&scene).await {
        return;
    }
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
