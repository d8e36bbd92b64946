//! What becomes of claimed messages.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{Broker, Disposition, LeaseStatus, Location, Progress, Receipt, SettleOutcome, Settlement, Token};

use super::scene::{GRAIN, LATE, LONG, Scene, dead, ids, retry, settlement};
use crate::conformance::millis;
use crate::fixture;

/// What is acknowledged is gone.
pub async fn acknowledging_removes(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [id] = scene.publish_each(["1"]).await;
    let delivery = scene.take_one(LONG).await;
    scene.is_at(&id, Some(Location::Running { token: delivery.receipt.token })).await;
    scene.acknowledge(&delivery).await;
    scene.is_at(&id, None).await;
    scene.nothing().await;
    if scene.broker.capabilities().fencing {
        assert_eq!(scene.extend(&delivery.receipt, LONG).await, LeaseStatus::Lost);
    }
}

/// Acknowledging again does no harm, also when the id was published again.
pub async fn acknowledging_twice_is_harmless(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = scene.message("1");
    scene.publish(std::slice::from_ref(&message)).await;
    let delivery = scene.take_one(LONG).await;
    scene.acknowledge(&delivery).await;
    scene.settle(&[settlement(&delivery, Disposition::Acknowledge)]).await;
    scene.nothing().await;
    scene.publish(std::slice::from_ref(&message)).await;
    scene.settle(&[settlement(&delivery, Disposition::Acknowledge)]).await;
    assert_eq!(scene.take_one(LONG).await.receipt.id, message.id);
}

/// A retry comes back after its pause with the counts that it was given.
pub async fn a_retry_waits_and_keeps_its_counts(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [id] = scene.publish_each(["1"]).await;
    let first = scene.take_one(LONG).await;
    let progress = Progress { failures: 3, losses: 1, snoozes: 2, parks: 5, max_retries: None };
    let start = Instant::now();
    let pause = scene.span(millis(400));
    scene.settle_one(Settlement { progress, ..retry(&first, pause) }).await;
    let again = scene.take_one(LONG).await;
    let after = start.elapsed();
    assert_eq!((again.receipt.id, again.progress), (id, progress));
    assert!(after + GRAIN >= pause, "due after {pause:?}, delivered after {after:?}");
    assert!(after < pause * 2 + LATE, "due after {pause:?}, delivered after {after:?}");
}

/// A requeue without a pause goes to the end of the queue.
pub async fn a_requeue_goes_to_the_end(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [one, two, three] = scene.publish_each(["1", "2", "3"]).await;
    let first = scene.take_one(LONG).await;
    scene.settle_one(settlement(&first, Disposition::Requeue { after: Duration::ZERO })).await;
    assert_eq!(ids(&scene.take(3, LONG).await), [two, three, one]);
}

/// What is released goes to the head, in its order, and nothing is counted.
pub async fn a_release_goes_to_the_head_uncounted(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let published = scene.publish_each(["1", "2", "3", "4"]).await;
    let taken = scene.take(2, LONG).await;
    let released: Vec<Settlement> = taken.iter().map(|one| settlement(one, Disposition::Release)).collect();
    assert_eq!(scene.settle(&released).await, [SettleOutcome::Settled; 2]);
    let again = scene.take(4, LONG).await;
    assert_eq!(ids(&again), published);
    assert!(again.iter().all(|delivery| delivery.progress == Progress::default()), "{again:?}");
}

/// One call settles in every way, and answers in order.
pub async fn a_mixed_batch_is_answered_in_its_order(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [gone, later, buried, released, held] = scene.publish_each(["1", "2", "3", "4", "5"]).await;
    let taken = scene.take(5, LONG).await;
    let mut batch = vec![
        settlement(&taken[0], Disposition::Acknowledge),
        retry(&taken[1], Duration::from_secs(3_600)),
        dead(&taken[2], "reason"),
        settlement(&taken[3], Disposition::Release),
    ];
    let mut expected = vec![SettleOutcome::Settled; 4];
    if scene.broker.capabilities().fencing {
        // In the middle, so that a shifted answer shows.
        let stale = Receipt { token: Token(0), ..taken[4].receipt.clone() };
        batch.insert(2, Settlement { receipt: stale, ..settlement(&taken[4], Disposition::Acknowledge) });
        let unknown = Receipt { id: fixture::task_id(), ..taken[4].receipt.clone() };
        batch.insert(0, Settlement { receipt: unknown, ..settlement(&taken[4], Disposition::Acknowledge) });
        expected.insert(2, SettleOutcome::Lost);
        expected.insert(0, SettleOutcome::Lost);
    }
    assert_eq!(scene.settle(&batch).await, expected);
    scene.is_at(&gone, None).await;
    scene.is_at(&buried, Some(Location::Dead)).await;
    scene.is_at(&held, Some(Location::Running { token: taken[4].receipt.token })).await;
    assert_eq!(scene.take_one(LONG).await.receipt.id, released);
    scene.nothing().await;
    if scene.broker.capabilities().locate {
        let place = scene.broker.locate(&scene.queue, &later).await.expect("locate answers");
        assert!(matches!(place, Some(Location::Scheduled { retrying: true, .. })), "{place:?}");
    }
}

/// Settling nothing answers nothing.
pub async fn settling_nothing_is_nothing(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    assert!(scene.settle(&[]).await.is_empty());
    assert!(scene.broker.extend(&[], LONG).await.expect("extend answers").is_empty());
}
