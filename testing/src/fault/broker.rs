use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Broker, CancelOutcome, Capabilities, DeadPage, Delivery, FetchRequest, LeaseStatus, Location, Message,
    PublishOutcome, QueueName, Receipt, Replay, Result, SettleOutcome, Settlement, TaskId,
};

use super::Faults;

/// A call of a [`Broker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum BrokerCall {
    Publish,
    Ready,
    Fetch,
    Extend,
    Settle,
    Cancel,
    Locate,
    DeadLetters,
    Replay,
    Discard,
}

impl From<BrokerCall> for &'static str {
    fn from(call: BrokerCall) -> Self {
        match call {
            BrokerCall::Publish => "publish",
            BrokerCall::Ready => "ready",
            BrokerCall::Fetch => "fetch",
            BrokerCall::Extend => "extend",
            BrokerCall::Settle => "settle",
            BrokerCall::Cancel => "cancel",
            BrokerCall::Locate => "locate",
            BrokerCall::DeadLetters => "dead letters",
            BrokerCall::Replay => "replay",
            BrokerCall::Discard => "discard",
        }
    }
}

/// A broker that fails when a test says so. Has the methods of [`Faults`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::sync::Arc;
/// use windlass_core::{Broker, ErrorKind};
/// use windlass_testing::fault::{BrokerCall, FaultyBroker};
/// use windlass_testing::{MemoryBroker, fixture};
///
/// let broker = FaultyBroker::new(Arc::new(MemoryBroker::new()));
/// broker.fail_after(BrokerCall::Publish, 1);
/// let message = fixture::message(&fixture::queue(), "[]");
/// let lost = broker.publish(std::slice::from_ref(&message)).await.unwrap_err();
/// assert_eq!(lost.kind(), ErrorKind::Unknown);
/// let again = broker.publish(&[message]).await?;
/// assert!(!again[0].is_accepted(), "the first call was applied");
/// # Ok::<_, windlass_core::Error>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FaultyBroker {
    inner: Arc<dyn Broker>,
    faults: Faults<BrokerCall>,
    echo: Mutex<Echo>,
}

/// Deliveries that come twice.
#[derive(Debug, Default)]
struct Echo {
    /// Fetches with deliveries until the one that is repeated; 0 if there is none.
    left: usize,
    again: Vec<Delivery>,
}

impl FaultyBroker {
    /// Wraps a broker; nothing goes wrong yet.
    pub fn new(inner: Arc<dyn Broker>) -> Self {
        Self { inner, faults: Faults::default(), echo: Mutex::default() }
    }

    /// What the nth fetch from now that finds something delivers is delivered once more by the fetch
    /// after it, under the same claims.
    pub fn duplicate_fetch(&self, nth: usize) {
        self.echo().left = nth;
    }

    fn echo(&self) -> MutexGuard<'_, Echo> {
        self.echo.lock().expect("no step panics while it holds the echo")
    }

    fn repeated(&self, max: usize) -> Vec<Delivery> {
        let again = &mut self.echo().again;
        let count = again.len().min(max);
        again.drain(..count).collect()
    }

    fn remember(&self, deliveries: &[Delivery]) {
        let mut echo = self.echo();
        if !deliveries.is_empty() && echo.left > 0 {
            echo.left -= 1;
            if echo.left == 0 {
                echo.again = deliveries.to_vec();
            }
        }
    }
}

impl Deref for FaultyBroker {
    type Target = Faults<BrokerCall>;

    fn deref(&self) -> &Self::Target {
        &self.faults
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Broker for FaultyBroker {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        self.faults.around(BrokerCall::Publish, self.inner.publish(messages)).await
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        let wait = if self.echo().again.is_empty() { wait } else { Duration::ZERO };
        self.faults.around(BrokerCall::Ready, self.inner.ready(queue, wait)).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        let fetch = async {
            let repeated = self.repeated(request.max);
            if !repeated.is_empty() {
                return Ok(repeated);
            }
            let deliveries = self.inner.fetch(request).await?;
            self.remember(&deliveries);
            Ok(deliveries)
        };
        self.faults.around(BrokerCall::Fetch, fetch).await
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        self.faults.around(BrokerCall::Extend, self.inner.extend(receipts, lease)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        self.faults.around(BrokerCall::Settle, self.inner.settle(settlements)).await
    }

    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        self.faults.around(BrokerCall::Cancel, self.inner.cancel(queue, id)).await
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        self.faults.around(BrokerCall::Locate, self.inner.locate(queue, id)).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.faults.around(BrokerCall::DeadLetters, self.inner.dead_letters(queue, cursor, max)).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        self.faults.around(BrokerCall::Replay, self.inner.replay(queue, letters)).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.faults.around(BrokerCall::Discard, self.inner.discard(queue, ids)).await
    }

    fn risks(&self) -> Vec<String> {
        self.inner.risks()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
