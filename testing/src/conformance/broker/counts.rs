//! What a message has been through, which decides about its retries and whether it is poison.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Broker, Disposition, Progress, Settlement};

use super::scene::{LONG, Scene, dead, retry, settlement};
use crate::conformance::millis;

/// Counts beyond what a byte, two bytes or a signed number hold.
const LARGE: Progress =
    Progress { failures: 300, losses: 70_000, snoozes: 3_000_000_000, parks: u32::MAX, max_retries: None };

/// Counts up to the largest number come back with the next delivery.
pub async fn large_counts_come_back(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let first = scene.take_one(LONG).await;
    let requeue = settlement(&first, Disposition::Requeue { after: Duration::ZERO });
    scene.settle_one(Settlement { progress: LARGE, ..requeue }).await;
    assert_eq!(scene.take_one(LONG).await.progress, LARGE);
}

/// A number of retries that a task has set for itself is kept with its counts, however it is put back.
pub async fn a_number_of_retries_of_its_own_is_kept(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let after = Duration::ZERO;
    for max_retries in [Some(0), Some(7), Some(u32::MAX), None, Some(3)] {
        for disposition in [Disposition::Requeue { after }, Disposition::Release] {
            let delivery = scene.take_one(LONG).await;
            let progress = Progress { max_retries, failures: 1, ..delivery.progress };
            scene.settle_one(Settlement { progress, ..settlement(&delivery, disposition) }).await;
        }
    }
    let progress = Progress { max_retries: Some(3), failures: 1, ..Progress::default() };
    let last = scene.take_one(LONG).await;
    assert_eq!(last.progress, progress);
    if scene.broker.capabilities().dead_letters {
        scene.settle_one(Settlement { progress, ..dead(&last, "reason") }).await;
        assert_eq!(scene.dead_letters(10).await[0].progress, progress);
    }
}

/// A number of retries that a task has set for itself outlives a lost lease.
pub async fn a_number_of_retries_of_its_own_outlives_a_lost_lease(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let first = scene.take_one(LONG).await;
    let progress = Progress { max_retries: Some(9), ..Progress::default() };
    scene.settle_one(Settlement { progress, ..settlement(&first, Disposition::Release) }).await;
    assert_eq!(scene.take_one(millis(100)).await.progress, progress);
    assert_eq!(scene.take_one(LONG).await.progress, Progress { losses: 1, ..progress });
}

/// Losses and failures are counted apart, and neither changes the other.
pub async fn losses_and_failures_are_counted_apart(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let short = millis(100);
    scene.publish_each(["1"]).await;
    for round in 0..2 {
        let lost = scene.take_one(short).await;
        assert_eq!(lost.progress, Progress { losses: round, failures: round, ..Progress::default() });
        let failed = scene.take_one(LONG).await;
        assert_eq!(failed.progress, Progress { losses: round + 1, failures: round, ..Progress::default() });
        scene.settle_one(retry(&failed, Duration::ZERO)).await;
    }
}

/// A dead letter shows the counts that it died with.
pub async fn a_dead_letter_shows_its_counts(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let delivery = scene.take_one(LONG).await;
    scene.settle_one(Settlement { progress: LARGE, ..dead(&delivery, "poison") }).await;
    let letters = scene.dead_letters(10).await;
    assert_eq!(letters.iter().map(|letter| letter.progress).collect::<Vec<_>>(), [LARGE]);
}
