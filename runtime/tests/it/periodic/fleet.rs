//! Schedulers over shared stores in memory, and what became of their ticks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use windlass_core::{
    Backend, BackendCapabilities, Broker, Call, Clock, Disposition, Error, ErrorKind, FetchRequest, Listener,
    NoteChange, NoteKey, NotePage, Notebook, Place, QueueName, Record, Result, SaveOutcome, Settlement, State, TaskDef,
    TaskId, Timestamp, WriteOutcome,
};
use windlass_runtime::periodic::{PeriodicTasks, Scheduler};
use windlass_runtime::{Client, ClientSettings};
use windlass_testing::fault::FaultyBroker;
use windlass_testing::{MemoryBackend, MemoryBroker, TokioClock};

pub(super) const REPORT: TaskDef<(u32,), ()> = TaskDef::new("report");

pub(super) fn report() -> Call<()> {
    REPORT.call((7,))
}

/// The stores that all schedulers share.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) broker: MemoryBroker,
    pub(super) backend: MemoryBackend,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tasks: PeriodicTasks,
    pub(super) client: Client,
}

impl Fleet {
    pub(super) fn new() -> Self {
        Self::with_clock(Arc::new(TokioClock))
    }

    pub(super) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let (broker, backend) = (MemoryBroker::new(), MemoryBackend::new());
        let stores: (Arc<dyn Broker>, Arc<dyn Backend>) = (Arc::new(broker.clone()), Arc::new(backend.clone()));
        let client = Client::with_clock(stores.0, Some(stores.1), ClientSettings::default(), Arc::clone(&clock));
        Self { broker, backend, tasks: PeriodicTasks::new(&client), clock, client }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A process of its own, whose calls can fail.
    pub(super) fn node(&self, chaos: Chaos) -> Node {
        let broker = Arc::new(FaultyBroker::new(Arc::new(self.broker.clone())));
        let chaos = Arc::new(Troubled { inner: self.backend.clone(), chaos });
        let client = Client::with_clock(
            Arc::clone(&broker) as _,
            Some(Arc::clone(&chaos) as _),
            ClientSettings::default(),
            Arc::clone(&self.clock),
        );
        Node { broker, backend: chaos, client }
    }

    /// Starts a scheduler in which nothing goes wrong.
    pub(super) fn scheduler(&self) -> Running {
        Running::start(&self.client)
    }

    /// The ids that wait, in order.
    pub(super) fn waiting(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.broker.waiting().iter().map(|(message, _)| message.id.to_string()).collect();
        ids.sort();
        ids
    }

    /// Runs what waits, as a worker would, and counts it by its id.
    pub(super) async fn run_all(&self, ran: &mut BTreeMap<String, u32>) {
        let request = FetchRequest::new(QueueName::default(), 1000, Duration::from_secs(60));
        let deliveries = self.broker.fetch(&request).await.unwrap();
        let settlement = |delivery: &windlass_core::Delivery| Settlement {
            receipt: delivery.receipt.clone(),
            disposition: Disposition::Acknowledge,
            progress: delivery.progress,
            state: State::Succeeded,
            remember: delivery.content.as_ref().unwrap().remember,
            reason: None,
        };
        for delivery in &deliveries {
            *ran.entry(delivery.receipt.id.to_string()).or_default() += 1;
        }
        let settlements: Vec<Settlement> = deliveries.iter().map(settlement).collect();
        self.broker.settle(&settlements).await.unwrap();
    }
}

/// A client with faults of its own.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) broker: Arc<FaultyBroker>,
    pub(super) backend: Arc<Troubled>,
    pub(super) client: Client,
}

/// A scheduler that runs.
#[derive(Debug)]
pub(super) struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) fn start(client: &Client) -> Self {
        let (stop, stopped) = oneshot::channel();
        let scheduler = Scheduler::new(client).unwrap();
        let task = tokio::spawn(scheduler.run(async { drop(stopped.await) }));
        Self { stop: Some(stop), task }
    }

    pub(super) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }

    /// As a process that is killed: it does not finish what it does.
    pub(super) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        // The sender must not be dropped before: that would be a stop.
        drop(self.stop);
    }
}

/// What goes wrong between a scheduler and its notes.
#[derive(Default)]
pub(super) struct Chaos {
    /// Of 100 calls, so many fail before and so many after they are applied.
    percent: u8,
    slow: bool,
    pub(super) over: AtomicBool,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    calls: AtomicUsize,
}

impl Chaos {
    /// Every call takes its time, and so many of 100 fail before and so many after they are applied.
    pub(super) fn new(percent: u8) -> Self {
        Self { percent, slow: true, ..Self::default() }
    }

    /// The process stands still after its next write, and this happens meanwhile.
    pub(super) fn after_write(&self, meanwhile: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    }
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos").field("percent", &self.percent).finish_non_exhaustive()
    }
}

/// A backend whose notes take their time and fail by chance.
#[derive(Debug)]
pub(super) struct Troubled {
    inner: MemoryBackend,
    pub(super) chaos: Chaos,
}

impl Troubled {
    /// How often the notes were asked for anything.
    pub(super) fn calls(&self) -> usize {
        self.chaos.calls.load(Ordering::SeqCst)
    }

    async fn around<T: Send>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.chaos.calls.fetch_add(1, Ordering::SeqCst);
        if !self.chaos.slow || self.chaos.over.load(Ordering::SeqCst) {
            return call.await;
        }
        let percent = self.chaos.percent;
        self.hesitate().await;
        match fastrand::u8(..100) {
            before if before < percent => {
                Err(Error::new(ErrorKind::Unavailable, "notes", "a fault before it was applied"))
            }
            after if after < 2 * percent => {
                call.await?;
                Err(Error::new(ErrorKind::Unknown, "notes", "a fault after it was applied"))
            }
            _ => {
                let answer = call.await;
                self.hesitate().await;
                answer
            }
        }
    }

    /// So that whoever is killed is killed between two steps.
    async fn hesitate(&self) {
        sleep(Duration::from_millis(fastrand::u64(0..300))).await;
    }
}

#[async_trait]
impl Backend for Troubled {
    fn capabilities(&self) -> BackendCapabilities {
        self.inner.capabilities()
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.inner.save(records).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.around(self.inner.load(ids)).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.inner.wait(id, timeout).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.inner.forget(ids).await
    }

    fn notebook(&self) -> Option<&dyn Notebook> {
        Some(self)
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Notebook for Troubled {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<windlass_core::Note>>> {
        self.around(self.inner.read(keys)).await
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        let answer = self.around(self.inner.write(changes)).await;
        let meanwhile = self.chaos.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        answer
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        self.around(self.inner.list(shelf, after, max)).await
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        self.inner.gather(places).await
    }

    async fn gathered(&self, set: &NoteKey, range: std::ops::Range<u32>) -> Result<Vec<Option<Bytes>>> {
        self.inner.gathered(set, range).await
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        self.inner.signal(topic, text).await
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        self.around(self.inner.listen(topic)).await
    }
}
