//! Messages that are not due at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{Broker, Clock, Message, Schedule};

use super::scene::{GRAIN, LATE, LONG, Scene, ids};
use crate::TokioClock;
use crate::conformance::millis;

async fn comes_after(scene: &Scene, schedule: Schedule, delay: Duration) {
    let message = Message { schedule, ..scene.message("1") };
    let start = Instant::now();
    scene.publish(std::slice::from_ref(&message)).await;
    let delivery = scene.take_one(LONG).await;
    let after = start.elapsed();
    assert_eq!(delivery.receipt.id, message.id);
    assert!(after + GRAIN >= delay, "due after {delay:?}, delivered after {after:?}");
    let latest = delay + scene.broker.capabilities().delay_step * 2 + LATE;
    assert!(after < latest, "due after {delay:?}, delivered after {after:?}");
    scene.acknowledge(&delivery).await;
    scene.nothing().await;
}

/// A delayed message does not come before its delay is over, and comes then.
pub async fn a_delay_is_kept(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    comes_after(&scene, Schedule::After(millis(400)), millis(400)).await;
}

/// A message for a point in time does not come before it, and comes then.
pub async fn a_point_in_time_is_kept(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    comes_after(&scene, Schedule::At(TokioClock.now().plus(millis(400))), millis(395)).await;
}

/// A point in time that has passed means now.
pub async fn a_time_that_has_passed_is_now(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let past = windlass_core::Timestamp::from_micros(1_000_000);
    let messages = [Schedule::At(past), Schedule::Now].map(|schedule| Message { schedule, ..scene.message("1") });
    scene.publish(&messages).await;
    assert_eq!(ids(&scene.take(2, LONG).await), messages.map(|message| message.id));
}

/// A delayed message holds up nobody.
pub async fn a_delayed_message_holds_up_nobody(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let late = Message { schedule: Schedule::After(Duration::from_secs(3_600)), ..scene.message("late") };
    let now = scene.message("now");
    scene.publish(&[late.clone(), now.clone()]).await;
    assert_eq!(scene.take_one(LONG).await.receipt.id, now.id);
    scene.nothing().await;
}

/// Delayed messages come in the order of their times, not of their publishing.
pub async fn delayed_messages_come_in_the_order_of_their_times(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let unit = scene.span(millis(200));
    let after = |count| Message { schedule: Schedule::After(unit * count), ..scene.message("1") };
    let messages = [after(3), after(1), after(2)];
    scene.publish(&messages).await;
    let [last, first, second] = messages.map(|message| message.id);
    assert_eq!(ids(&scene.take(3, LONG).await), [first, second, last]);
}
