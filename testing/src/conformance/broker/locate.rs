//! Finding a message.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Broker, Clock, Disposition, Location, Message, Schedule, TaskId};

use super::scene::{LONG, Scene, retry, settlement};
use crate::TokioClock;
use crate::conformance::distance;
use crate::fixture;

const HOUR: Duration = Duration::from_secs(3_600);
/// How far the clocks of broker and test may be apart.
const SKEW: Duration = Duration::from_secs(30);

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
    scene.is_at(&fixture::task_id(), None).await;
    let [id] = scene.publish_each(["1"]).await;
    scene.is_at(&id, Some(Location::Queued)).await;
    let delivery = scene.take_one(LONG).await;
    scene.is_at(&id, Some(Location::Running { token: delivery.receipt.token })).await;
    scene.settle_one(settlement(&delivery, Disposition::Release)).await;
    scene.is_at(&id, Some(Location::Queued)).await;
    scene.acknowledge(&scene.take_one(LONG).await).await;
    scene.is_at(&id, None).await;
}

/// A delayed message, a snoozed one and a retry are told apart.
pub async fn what_waits_for_its_time_is_found_with_its_time(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
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
