//! A broker that refuses what a test says.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Broker, CancelOutcome, Capabilities, DeadPage, Delivery, Error, ErrorKind, FetchRequest, LeaseStatus, Location,
    Message, PublishOutcome, QueueName, Receipt, Replay, Result, SettleOutcome, Settlement, TaskId,
};
use windlass_testing::MemoryBroker;

/// How a call with a bad message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refuses {
    /// Each message has an answer of its own.
    Each,
    /// The whole call, with the id of the first bad message.
    Named,
    /// The whole call, and nobody knows why.
    Whole(ErrorKind),
}

/// A memory broker that takes no message whose payload begins with `bad`, as long as it is `strict`.
#[derive(Debug)]
pub(super) struct Picky {
    pub(super) inner: MemoryBroker,
    pub(super) refuses: Refuses,
    pub(super) strict: Mutex<bool>,
}

impl Picky {
    pub(super) fn new(inner: MemoryBroker, refuses: Refuses) -> Self {
        Self { inner, refuses, strict: Mutex::new(true) }
    }

    fn is_bad(&self, message: &Message) -> bool {
        *self.strict.lock().expect("nobody panics with it") && message.payload.starts_with(b"bad")
    }
}

#[async_trait]
impl Broker for Picky {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        let Some(bad) = messages.iter().find(|message| self.is_bad(message)) else {
            return self.inner.publish(messages).await;
        };
        match self.refuses {
            Refuses::Named => Err(Error::invalid("payload", "it", "good").with_task(bad.id.clone())),
            Refuses::Whole(kind) => Err(Error::new(kind, "publish", "not this")),
            Refuses::Each => {
                let mut outcomes = Vec::new();
                for message in messages {
                    outcomes.push(match self.is_bad(message) {
                        true => PublishOutcome::Rejected(Error::new(ErrorKind::Rejected, "publish", "not this")),
                        false => self.inner.publish(std::slice::from_ref(message)).await?.remove(0),
                    });
                }
                Ok(outcomes)
            }
        }
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        self.inner.ready(queue, wait).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        self.inner.fetch(request).await
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        self.inner.extend(receipts, lease).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        self.inner.settle(settlements).await
    }

    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        self.inner.cancel(queue, id).await
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        self.inner.locate(queue, id).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.inner.dead_letters(queue, cursor, max).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        self.inner.replay(queue, letters).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.inner.discard(queue, ids).await
    }

    fn risks(&self) -> Vec<String> {
        self.inner.risks()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
