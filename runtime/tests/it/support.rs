//! What several tests need.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use windlass_core::{
    Backend, BackendCapabilities, Broker, CancelOutcome, Capabilities, DeadLetter, DeadPage, Delivery, Error,
    ErrorKind, FetchRequest, LeaseStatus, Location, Message, PublishOutcome, QueueName, Receipt, Record, Replay,
    Result, SaveOutcome, SettleOutcome, Settlement, TaskDef, TaskId,
};
use windlass_runtime::{Client, ClientSettings, Worker, WorkerBuilder, WorkerSettings};
use windlass_testing::fault::{FaultyBackend, FaultyBroker};
use windlass_testing::{Harness, MemoryBackend, MemoryBroker, TokioClock};

/// A task with a number as its argument and as its result.
pub(crate) const WORK: TaskDef<(u32,), u32> = TaskDef::new("work");

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// What happened, in its order. Clones share it.
#[derive(Debug)]
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Tells that a value was dropped, and when.
#[derive(Debug)]
pub(crate) struct Dropped(pub(crate) Log<Instant>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.push(Instant::now());
    }
}

pub(crate) fn default_queue() -> QueueName {
    QueueName::default()
}

/// The dead letters of the queue `default`.
pub(crate) async fn dead(harness: &Harness) -> Vec<DeadLetter> {
    harness.broker().dead_letters(&default_queue(), None, 100).await.unwrap().letters
}

/// Claims what waits in `default`, as a worker would that is never heard of again.
pub(crate) async fn claim(harness: &Harness, lease: Duration) -> Vec<Delivery> {
    let request = FetchRequest::new(default_queue(), 100, lease);
    harness.broker().fetch(&request).await.unwrap()
}

/// Waits until `holds`, at most a minute of the test's time.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < secs(60), "not within a minute: {what}");
        sleep(millis(1)).await;
    }
}

/// A process of its own: a client and workers with faults of their own, over the stores of a harness.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) broker: Arc<FaultyBroker>,
    pub(crate) backend: Arc<FaultyBackend>,
    pub(crate) client: Client,
}

impl Node {
    pub(crate) fn beside(harness: &Harness) -> Self {
        let broker = Arc::new(FaultyBroker::new(Arc::new(harness.broker().clone())));
        let backend = Arc::new(FaultyBackend::new(Arc::new(harness.backend().clone())));
        let client = client(Arc::clone(&broker) as _, Some(Arc::clone(&backend) as _));
        Self { broker, backend, client }
    }

    pub(crate) async fn worker(&self, build: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Worker {
        build(builder(&self.client)).start().await.unwrap()
    }
}

pub(crate) fn client(broker: Arc<dyn Broker>, backend: Option<Arc<dyn Backend>>) -> Client {
    Client::with_clock(broker, backend, ClientSettings::default(), Arc::new(TokioClock))
}

/// A builder whose worker keeps its leases in the time of the test.
pub(crate) fn builder(client: &Client) -> WorkerBuilder {
    WorkerBuilder::new(client, settings())
}

pub(crate) fn settings() -> WorkerSettings {
    let mut settings = WorkerSettings::default();
    settings.lease_on_runtime = true;
    settings
}

/// A broker that writes down how many payload bytes each publish brings.
#[derive(Debug)]
pub(crate) struct Weighed {
    pub(crate) inner: MemoryBroker,
    pub(crate) publishes: Log<usize>,
}

#[async_trait]
impl Broker for Weighed {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        self.publishes.push(messages.iter().map(|message| message.payload.len()).sum());
        // Long enough for others to come meanwhile.
        sleep(millis(5)).await;
        self.inner.publish(messages).await
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

/// A backend that writes down how many bytes each save brings, and refuses every save of one task.
#[derive(Debug)]
pub(crate) struct Picky {
    pub(crate) inner: MemoryBackend,
    pub(crate) saves: Log<usize>,
    pub(crate) refused: Option<TaskId>,
}

#[async_trait]
impl Backend for Picky {
    fn capabilities(&self) -> BackendCapabilities {
        self.inner.capabilities()
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.saves.push(records.iter().map(Record::weight).sum());
        if records.iter().any(|record| Some(&record.id) == self.refused.as_ref()) {
            return Err(Error::new(ErrorKind::Rejected, "save", "this store does not take it"));
        }
        self.inner.save(records).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.inner.load(ids).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.inner.wait(id, timeout).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.inner.forget(ids).await
    }

    fn notebook(&self) -> Option<&dyn windlass_core::Notebook> {
        self.inner.notebook()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A broker with these capabilities that has nothing, and writes down what it is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    inner: MemoryBroker,
    capabilities: Capabilities,
    pub(crate) requests: Log<FetchRequest>,
}

impl Asked {
    pub(crate) fn new(capabilities: Capabilities) -> Arc<Self> {
        Arc::new(Self { inner: MemoryBroker::new(), capabilities, requests: Log::new() })
    }
}

#[async_trait]
impl Broker for Asked {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        self.inner.publish(messages).await
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        self.inner.ready(queue, wait).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        self.requests.push(request.clone());
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

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A backend that keeps no notes.
#[derive(Debug)]
pub(crate) struct Mute(pub(crate) MemoryBackend);

#[async_trait]
impl Backend for Mute {
    fn capabilities(&self) -> BackendCapabilities {
        self.0.capabilities()
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.0.save(records).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.0.load(ids).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.0.wait(id, timeout).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.0.forget(ids).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
