//! A broker and a queue of its own, with the steps that the guarantees are written in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{
    Broker, DeadLetter, Delivery, Disposition, FetchRequest, LeaseStatus, Location, Message, Progress, PublishOutcome,
    QueueName, Receipt, SettleOutcome, Settlement, State, TaskId,
};

use crate::conformance::{PATIENCE, millis, pass};
use crate::fixture;

/// A lease that does not run out while a test lasts.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// How long a broker may take to push what waits to a consumer.
const PUSH: Duration = Duration::from_millis(300);
/// A lease that runs out while a test waits.
pub(super) const SHORT: Duration = Duration::from_millis(300);
/// How late a message may come that was due: long enough for a busy machine.
pub(super) const LATE: Duration = Duration::from_secs(5);
/// Clocks that count whole milliseconds may be off by this much.
pub(super) const GRAIN: Duration = Duration::from_millis(5);

#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) queue: QueueName,
}

impl Scene {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, queue: fixture::queue() }
    }

    pub(super) fn message(&self, payload: &'static str) -> Message {
        fixture::message(&self.queue, payload)
    }

    /// Publishes; every message must be accepted.
    pub(super) async fn publish(&self, messages: &[Message]) {
        let outcomes = self.outcomes(messages).await;
        for (message, outcome) in messages.iter().zip(&outcomes) {
            assert!(outcome.is_accepted(), "publishing {} answered {outcome:?}", message.id);
        }
    }

    pub(super) async fn outcomes(&self, messages: &[Message]) -> Vec<PublishOutcome> {
        let outcomes = self.broker.publish(messages).await.expect("publish answers");
        assert_eq!(outcomes.len(), messages.len(), "one answer for each message");
        outcomes
    }

    /// Publishes messages with these payloads and answers their ids.
    pub(super) async fn publish_each<const N: usize>(&self, payloads: [&'static str; N]) -> [TaskId; N] {
        let messages = payloads.map(|payload| self.message(payload));
        self.publish(&messages).await;
        messages.map(|message| message.id)
    }

    /// Claims what there is at this moment.
    pub(super) async fn fetch(&self, max: usize, lease: Duration) -> Vec<Delivery> {
        let request = FetchRequest::new(self.queue.clone(), max, lease);
        let deliveries = self.broker.fetch(&request).await.expect("fetch answers");
        assert!(deliveries.len() <= max, "{} deliveries, asked for at most {max}", deliveries.len());
        deliveries
    }

    /// Claims exactly `count` messages, with as many calls as that takes.
    pub(super) async fn take(&self, count: usize, lease: Duration) -> Vec<Delivery> {
        let deadline = Instant::now() + PATIENCE;
        let mut taken = Vec::new();
        while taken.len() < count {
            let more = self.fetch((count - taken.len()).min(100), lease).await;
            if more.is_empty() {
                assert!(Instant::now() < deadline, "{} messages came within {PATIENCE:?}, not {count}", taken.len());
                self.wait(millis(100)).await;
            }
            taken.extend(more);
        }
        taken
    }

    /// Claims and acknowledges exactly `count` messages, a hundred at a time.
    pub(super) async fn finish(&self, count: usize) -> Vec<Delivery> {
        let mut finished = Vec::new();
        while finished.len() < count {
            let taken = self.take((count - finished.len()).min(100), LONG).await;
            let done: Vec<Settlement> = taken.iter().map(|one| settlement(one, Disposition::Acknowledge)).collect();
            let outcomes = self.settle(&done).await;
            assert!(outcomes.iter().all(|outcome| *outcome == SettleOutcome::Settled), "{outcomes:?}");
            finished.extend(taken);
        }
        finished
    }

    pub(super) async fn take_one(&self, lease: Duration) -> Delivery {
        self.take(1, lease).await.remove(0)
    }

    /// Waits for a message; a broker that answers at once every time must not make this loop spin.
    pub(super) async fn wait(&self, span: Duration) {
        let start = Instant::now();
        self.broker.ready(&self.queue, span).await.expect("ready answers");
        tokio::time::sleep_until((start + millis(2)).min(start + span)).await;
    }

    /// Makes sure that nothing is delivered for `span`.
    pub(super) async fn nothing_for(&self, span: Duration) {
        let deadline = Instant::now() + span;
        loop {
            let found = self.fetch(10, LONG).await;
            assert!(found.is_empty(), "nothing was expected, and this came: {found:?}");
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.wait(left).await;
        }
    }

    pub(super) async fn nothing(&self) {
        self.nothing_for(if self.pushes() { PUSH } else { millis(50) }).await;
    }

    /// Without leases, a claim belongs to a connection, and a broker pushes over it what it can.
    fn pushes(&self) -> bool {
        !self.broker.capabilities().lease
    }

    /// What was published so far has arrived: waits for a message and, if the broker pushes them one after
    /// the other, as long as that may take.
    pub(super) async fn arrived(&self) {
        if self.pushes() {
            self.wait(PATIENCE).await;
            pass(PUSH).await;
        }
    }

    /// What was to wait for `span` from now is due.
    pub(super) async fn due_after(&self, span: Duration) {
        if !span.is_zero() {
            pass(span + self.broker.capabilities().delay_step + millis(100)).await;
        }
    }

    /// The shortest span of time, at least `least`, that the broker can delay exactly.
    pub(super) fn span(&self, least: Duration) -> Duration {
        let step = self.broker.capabilities().delay_step.max(millis(1));
        step * u32::try_from(least.as_nanos().div_ceil(step.as_nanos())).expect("a few steps")
    }

    pub(super) async fn settle(&self, settlements: &[Settlement]) -> Vec<SettleOutcome> {
        let outcomes = self.broker.settle(settlements).await.expect("settle answers");
        assert_eq!(outcomes.len(), settlements.len(), "one answer for each settlement");
        outcomes
    }

    /// Settles one claim, which must still be held.
    pub(super) async fn settle_one(&self, settlement: Settlement) {
        assert_eq!(self.settle(std::slice::from_ref(&settlement)).await, [SettleOutcome::Settled], "{settlement:?}");
    }

    pub(super) async fn acknowledge(&self, delivery: &Delivery) {
        self.settle_one(settlement(delivery, Disposition::Acknowledge)).await;
    }

    pub(super) async fn bury(&self, deliveries: &[Delivery], reason: &str) {
        let dead: Vec<Settlement> = deliveries.iter().map(|delivery| dead(delivery, reason)).collect();
        let outcomes = self.settle(&dead).await;
        assert!(outcomes.iter().all(|outcome| *outcome == SettleOutcome::Settled), "{outcomes:?}");
    }

    pub(super) async fn extend(&self, receipt: &Receipt, lease: Duration) -> LeaseStatus {
        let statuses = self.broker.extend(std::slice::from_ref(receipt), lease).await.expect("extend answers");
        assert_eq!(statuses.len(), 1, "one answer for each receipt");
        statuses[0]
    }

    /// Where a message is; brokers that cannot tell are believed.
    pub(super) async fn is_at(&self, id: &TaskId, expected: Option<Location>) {
        if self.broker.capabilities().locate {
            let found = self.broker.locate(&self.queue, id).await.expect("locate answers");
            assert_eq!(found, expected, "the place of {id}");
        }
    }

    /// All dead letters, page by page.
    pub(super) async fn dead_letters(&self, page_size: usize) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.broker.dead_letters(&self.queue, cursor.as_deref(), page_size).await;
            let page = page.expect("dead_letters answers");
            assert!(page.letters.len() <= page_size, "{} letters on a page of {page_size}", page.letters.len());
            letters.extend(page.letters);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return letters,
            }
        }
    }
}

/// A settlement that changes no counts.
pub(super) fn settlement(delivery: &Delivery, disposition: Disposition) -> Settlement {
    let state = match disposition {
        Disposition::Acknowledge => State::Succeeded,
        Disposition::Requeue { .. } => State::Scheduled,
        Disposition::Release => State::Queued,
        Disposition::DeadLetter => State::Failed,
    };
    let receipt = delivery.receipt.clone();
    Settlement { receipt, disposition, progress: delivery.progress, state, remember: None, reason: None }
}

/// A retry after `after` with one more failure.
pub(super) fn retry(delivery: &Delivery, after: Duration) -> Settlement {
    let progress = Progress { failures: delivery.progress.failures + 1, ..delivery.progress };
    Settlement { progress, state: State::Retrying, ..settlement(delivery, Disposition::Requeue { after }) }
}

/// The end among the dead letters.
pub(super) fn dead(delivery: &Delivery, reason: &str) -> Settlement {
    let progress = Progress { failures: delivery.progress.failures + 1, ..delivery.progress };
    Settlement { progress, reason: Some(reason.to_owned()), ..settlement(delivery, Disposition::DeadLetter) }
}

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<TaskId> {
    deliveries.iter().map(|delivery| delivery.receipt.id.clone()).collect()
}

pub(super) fn message_of(delivery: &Delivery) -> &Message {
    delivery.content.as_ref().unwrap_or_else(|error| panic!("{} is no message: {error:?}", delivery.receipt.id))
}
