//! Connections that break.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use windlass_core::{
    Broker, Delivery, Disposition, FetchRequest, LeaseStatus, Message, PublishOutcome, Receipt, SettleOutcome,
    Settlement, TaskId,
};

use super::scene::{LONG, Scene, settlement};
use crate::conformance::{Disturb, PATIENCE, eventually, millis, pass};
use crate::fixture;

impl Scene {
    /// Publishes until everything is in the broker, as a client that tries again.
    async fn publish_until_accepted(&self, messages: &[Message]) {
        let outcomes = eventually("publishing works again", PATIENCE, || async {
            match self.broker.publish(messages).await {
                Ok(outcomes) => Some(outcomes),
                Err(error) => {
                    assert!(error.is_retryable(), "a lost connection passes: {error:?}");
                    None
                }
            }
        });
        for outcome in outcomes.await {
            assert!(!matches!(outcome, PublishOutcome::Rejected(_)), "{outcome:?}");
        }
    }

    /// Claims and acknowledges until `count` different messages came, as a worker that tries again;
    /// answers how often each came.
    async fn work_off(&self, count: usize) -> BTreeMap<TaskId, usize> {
        let deadline = Instant::now() + PATIENCE;
        let request = FetchRequest::new(self.queue.clone(), 100, LONG);
        let mut came = BTreeMap::new();
        while came.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} messages came", came.len());
            let deliveries = self.broker.fetch(&request).await.unwrap_or_default();
            if deliveries.is_empty() {
                let _ = self.broker.ready(&self.queue, millis(100)).await;
                pass(millis(2)).await;
            }
            for delivery in &deliveries {
                *came.entry(delivery.receipt.id.clone()).or_default() += 1;
            }
            self.settle_until_answered(&deliveries).await;
        }
        came
    }

    /// Fetches until there is an answer.
    async fn fetch_until_answered(&self, max: usize) -> Vec<Delivery> {
        let request = FetchRequest::new(self.queue.clone(), max, LONG);
        eventually("fetching works again", PATIENCE, || async { self.broker.fetch(&request).await.ok() }).await
    }

    /// Extends until there is an answer.
    async fn extend_until_answered(&self, deliveries: &[Delivery]) -> Vec<LeaseStatus> {
        let receipts: Vec<Receipt> = deliveries.iter().map(|delivery| delivery.receipt.clone()).collect();
        let extended = || async { self.broker.extend(&receipts, LONG).await.ok() };
        eventually("extending works again", PATIENCE, extended).await
    }

    /// Acknowledges until there is an answer.
    async fn settle_until_answered(&self, deliveries: &[Delivery]) -> Vec<SettleOutcome> {
        let done: Vec<Settlement> = deliveries.iter().map(|one| settlement(one, Disposition::Acknowledge)).collect();
        eventually("settling works again", PATIENCE, || async { self.broker.settle(&done).await.ok() }).await
    }
}

/// What was accepted before a connection broke comes after it, every message of it.
pub async fn nothing_accepted_is_lost_with_a_connection(broker: Arc<dyn Broker>, disturb: Disturb) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 100);
    scene.publish(&messages).await;
    disturb.now();
    let came = scene.work_off(100).await;
    assert!(messages.iter().all(|message| came.contains_key(&message.id)));
}

/// Publishing works again after every break, and what it accepts arrives.
pub async fn publishing_goes_on_after_a_lost_connection(broker: Arc<dyn Broker>, disturb: Disturb) {
    let scene = Scene::new(broker);
    let idempotent = scene.broker.capabilities().idempotent;
    let messages = fixture::messages(&scene.queue, 60);
    for batch in messages.chunks(20) {
        // One that is on its way while the connection breaks, and one that comes after.
        let (now, later) = batch.split_at(10);
        tokio::join!(scene.publish_until_accepted(now), async { disturb.now() });
        scene.publish_until_accepted(later).await;
    }
    let came = scene.work_off(60).await;
    let twice: Vec<_> = came.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty() || !idempotent, "published once, delivered more often: {twice:?}");
}

/// Who waits while the connection breaks is still woken by what comes then.
pub async fn a_waiter_outlives_a_lost_connection(broker: Arc<dyn Broker>, disturb: Disturb) {
    let scene = Scene::new(broker);
    let message = scene.message("1");
    let script = async {
        pass(millis(200)).await;
        disturb.now();
        pass(millis(200)).await;
        scene.publish_until_accepted(std::slice::from_ref(&message)).await;
        Instant::now()
    };
    let waiting = async {
        let request = FetchRequest::new(scene.queue.clone(), 1, LONG);
        loop {
            // A wait that answers an error at once must not make this loop spin.
            let _ = tokio::join!(scene.broker.ready(&scene.queue, Duration::from_secs(30)), pass(millis(5)));
            if let Ok([delivery]) = scene.broker.fetch(&request).await.as_deref() {
                return (delivery.receipt.id.clone(), Instant::now());
            }
        }
    };
    let (published, waited) = tokio::join!(script, timeout(PATIENCE, waiting));
    let (id, woken) = waited.expect("the message comes");
    assert_eq!(id, message.id);
    let after = woken.saturating_duration_since(published);
    assert!(after < Duration::from_secs(10), "woken after {after:?}");
}

/// A claim under a lease outlives the connection: it is settled over the next one.
pub async fn a_leased_claim_outlives_its_connection(broker: Arc<dyn Broker>, disturb: Disturb) {
    let scene = Scene::new(broker);
    scene.publish(&fixture::messages(&scene.queue, 10)).await;
    let deliveries = scene.take(10, LONG).await;
    disturb.now();
    assert_eq!(scene.extend_until_answered(&deliveries).await, [LeaseStatus::Held; 10]);
    disturb.now();
    // A settlement that was applied and lost its answer says `Lost` when it is repeated; so what was
    // settled shows in the claims.
    scene.settle_until_answered(&deliveries).await;
    assert_eq!(scene.extend_until_answered(&deliveries).await, [LeaseStatus::Lost; 10]);
    scene.nothing().await;
}

/// A claim without a lease ends with its connection: the message comes again, and the old claim says so.
pub async fn an_unleased_claim_ends_with_its_connection(broker: Arc<dyn Broker>, disturb: Disturb) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 10);
    scene.publish(&messages).await;
    let old = scene.take(10, LONG).await;
    disturb.now();
    let mut new = scene.fetch_until_answered(10).await;
    new.extend(scene.take(10 - new.len(), LONG).await);
    assert!(new.iter().all(|delivery| delivery.progress.failures == 0), "a loss is no failure: {new:?}");
    assert_eq!(scene.settle_until_answered(&old).await, [SettleOutcome::Lost; 10]);
    assert_eq!(scene.settle_until_answered(&new).await, [SettleOutcome::Settled; 10]);
    scene.nothing().await;
}
