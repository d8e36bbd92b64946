use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use windlass_core::{Call, IntoDuration, Result};
use windlass_runtime::{Client, ClientSettings, ResultError, TaskHandle, Worker, WorkerBuilder, WorkerSettings};

use crate::fault::{FaultyBackend, FaultyBroker};
use crate::memory::Counts;
use crate::{MemoryBackend, MemoryBroker, TokioClock};

/// How long to wait for an end in a test whose clock is paused: longer than any delay can be.
const VIRTUAL: Duration = Duration::from_secs(400 * 86_400);
/// How long to wait for an end in a test whose clock runs.
const REAL: Duration = Duration::from_secs(30);
/// How often the real clock is looked at, in the time of the test.
const LOOK: Duration = Duration::from_secs(3600);

/// A client and workers in a test: the real ones, over memory, with virtual time.
///
/// In a test with `#[tokio::test(start_paused = true)]`, whatever waits takes no time: a retry that
/// comes after hours comes at once, and in the right order. Only one thing does not work then: a task
/// that blocks its thread while another one is to go on.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
/// use std::time::Duration;
/// use windlass_core::{Backoff, TaskDef};
/// use windlass_testing::{Harness, assert_enqueued};
///
/// const DOUBLE: TaskDef<(i64,), i64> = TaskDef::new("double");
///
/// let harness = Harness::new();
/// let handle = harness.client().enqueue(DOUBLE.call((21,)).delay(Duration::from_secs(86_400))).await?;
/// assert_enqueued!(harness.broker(), "double", [21]);
///
/// let worker = harness.worker(|worker| worker.register_fn(DOUBLE, |n: i64| async move { n * 2 })).await;
/// harness.drain().await;
/// assert_eq!(handle.result().await?, 42);
/// assert_eq!(worker.shutdown().await.succeeded, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Harness {
    memory: MemoryBroker,
    results: MemoryBackend,
    broker: Arc<FaultyBroker>,
    backend: Arc<FaultyBackend>,
    client: Client,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// An empty broker, an empty backend, and a client.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> Self {
        Self::with_settings(ClientSettings::default())
    }

    /// As [`Harness::new`], with settings of the client.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_settings(settings: ClientSettings) -> Self {
        let (memory, results) = (MemoryBroker::new(), MemoryBackend::new());
        let broker = Arc::new(FaultyBroker::new(Arc::new(memory.clone())));
        let backend = Arc::new(FaultyBackend::new(Arc::new(results.clone())));
        let client = Client::with_clock(
            Arc::clone(&broker) as _,
            Some(Arc::clone(&backend) as _),
            settings,
            Arc::new(TokioClock),
        );
        Self { memory, results, broker, backend, client }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The broker, to look into; for [`assert_enqueued!`](crate::assert_enqueued) too.
    pub fn broker(&self) -> &MemoryBroker {
        &self.memory
    }

    /// The backend, to look into.
    pub fn backend(&self) -> &MemoryBackend {
        &self.results
    }

    /// What shall go wrong between client, workers and the broker.
    pub fn broker_faults(&self) -> &FaultyBroker {
        &self.broker
    }

    /// What shall go wrong between client, workers and the backend.
    pub fn backend_faults(&self) -> &FaultyBackend {
        &self.backend
    }

    /// Starts a worker that keeps its leases in the time of the test.
    ///
    /// # Panics
    /// If the worker refuses to start, with its reason.
    pub async fn worker(&self, build: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Worker {
        let mut settings = WorkerSettings::default();
        settings.lease_on_runtime = true;
        let started = build(WorkerBuilder::new(&self.client, settings)).start().await;
        started.unwrap_or_else(|error| panic!("the worker does not start: {error}"))
    }

    /// Enqueues a task.
    ///
    /// # Errors
    /// As [`Client::enqueue`].
    pub async fn enqueue<O>(&self, call: Call<O>) -> Result<TaskHandle<O>> {
        self.client.enqueue(call).await
    }

    /// Enqueues a task and waits for its result; a worker must run.
    ///
    /// # Errors
    /// As [`TaskHandle::result`], and as [`Client::enqueue`].
    pub async fn run<O: DeserializeOwned>(&self, call: Call<O>) -> Result<O, ResultError> {
        self.enqueue(call).await?.result().await
    }

    /// Waits until no task is left but dead letters: none waits, not even for its time, and none runs.
    ///
    /// # Panics
    /// If that does not come: after 30 s, or, where the clock is paused, after 400 days of its time.
    pub async fn drain(&self) {
        self.until("something is still to be done", |counts| counts.queued + counts.scheduled + counts.running == 0)
            .await;
    }

    /// Waits until nothing is due: no task runs or waits for a worker. Tasks may wait for their time.
    ///
    /// # Panics
    /// As [`Harness::drain`].
    pub async fn run_until_idle(&self) {
        self.until("something is still due", |counts| counts.queued + counts.running == 0).await;
    }

    /// Lets time pass, with everything that becomes due on the way.
    ///
    /// # Panics
    /// If `span` is a text that is no span of time.
    pub async fn pass(&self, span: impl IntoDuration) {
        let span = span.into_duration().unwrap_or_else(|error| panic!("{error}"));
        tokio::time::sleep(span).await;
    }

    async fn until(&self, what: &str, holds: impl Fn(Counts) -> bool) {
        let limit = if is_paused() { VIRTUAL } else { REAL };
        let mut changes = self.memory.changes();
        let started = Instant::now();
        let wait = async {
            // Virtual time can go on for long while nothing happens, so the real one counts too.
            while !holds(self.memory.counts()) && started.elapsed() < REAL {
                tokio::select! {
                    // The sender lives as long as the broker, which this harness holds.
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        };
        let in_time = tokio::time::timeout(limit, wait).await.is_ok();
        if !in_time || !holds(self.memory.counts()) {
            let listing = self.memory.listing();
            panic!("{what}: {:?}{listing}\nDoes a worker serve that queue, and know that task?", self.memory.counts());
        }
    }
}

/// Whether tokio's clock stands still; there is no method that tells.
fn is_paused() -> bool {
    let (virtual_now, now) = (tokio::time::Instant::now(), Instant::now());
    while now.elapsed() < Duration::from_micros(2) {
        std::hint::spin_loop();
    }
    tokio::time::Instant::now() == virtual_now
}
