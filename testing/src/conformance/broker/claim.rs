//! Fencing: an old claim can change nothing.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Broker, Delivery, Disposition, LeaseStatus, Location, SettleOutcome, Token};

use super::scene::{LONG, SHORT, Scene, dead, retry, settlement};

/// A message that was claimed, lost, and claimed again: the old claim and the new one.
async fn claimed_twice(scene: &Scene) -> (Delivery, Delivery) {
    scene.publish_each(["1"]).await;
    let old = scene.take_one(SHORT).await;
    let new = scene.take_one(LONG).await;
    assert_eq!(new.receipt.id, old.receipt.id);
    (old, new)
}

/// After each claim of a task, its token is greater.
pub async fn tokens_grow(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let mut last = Token(0);
    for _ in 0..5 {
        let delivery = scene.take_one(LONG).await;
        assert!(delivery.receipt.token > last, "{} after {last}", delivery.receipt.token);
        last = delivery.receipt.token;
        scene.settle_one(settlement(&delivery, Disposition::Release)).await;
    }
}

/// A lost lease makes the next token greater, too.
pub async fn tokens_grow_with_a_lost_lease(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let (old, new) = claimed_twice(&scene).await;
    assert!(new.receipt.token > old.receipt.token, "{} after {}", new.receipt.token, old.receipt.token);
}

/// Whatever the old owner says, the new one keeps the message.
pub async fn an_old_claim_settles_nothing(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let (old, new) = claimed_twice(&scene).await;
    let attempts = [
        settlement(&old, Disposition::Acknowledge),
        settlement(&old, Disposition::Release),
        retry(&old, Duration::ZERO),
        dead(&old, "from the past"),
    ];
    assert_eq!(scene.settle(&attempts).await, [SettleOutcome::Lost; 4]);
    scene.is_at(&new.receipt.id, Some(Location::Running { token: new.receipt.token })).await;
    scene.nothing().await;
    scene.acknowledge(&new).await;
    scene.is_at(&new.receipt.id, None).await;
}

/// The old owner cannot extend, and does not disturb the new lease by trying.
pub async fn an_old_claim_extends_nothing(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let (old, new) = claimed_twice(&scene).await;
    assert_eq!(scene.extend(&old.receipt, Duration::from_millis(1)).await, LeaseStatus::Lost);
    scene.nothing().await;
    assert_eq!(scene.extend(&new.receipt, LONG).await, LeaseStatus::Held);
    scene.acknowledge(&new).await;
}

/// A claim ends with its settlement: what comes later under its token changes nothing.
pub async fn a_settled_claim_is_over(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let delivery = scene.take_one(LONG).await;
    scene.settle_one(settlement(&delivery, Disposition::Release)).await;
    assert_eq!(scene.extend(&delivery.receipt, LONG).await, LeaseStatus::Lost);
    scene.settle(&[settlement(&delivery, Disposition::Acknowledge)]).await;
    let again = scene.take_one(LONG).await;
    assert_eq!(again.receipt.id, delivery.receipt.id, "the late acknowledgement must not remove it");
    scene.acknowledge(&again).await;
}
