use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::limits::{PAYLOAD_BYTES, PAYLOAD_BYTES_HARD};
use windlass_core::message::Arguments;
use windlass_core::task::{Erased, Handler};
use windlass_core::{
    Backend, Broker, Clock, Error, ErrorKind, ExecutionPolicy, Options, QueueName, Registry, Result, Shared, Task,
    TaskDef, Timestamp,
};

use super::beside::{Beside, Stop};
use super::engine::{Engine, Route};
use super::lane::Lane;
use super::lease::{self, Leases};
use super::middleware::Middleware;
use super::settle;
use super::shutdown::Worker;
use super::stats::Stats;
use crate::client::Client;

/// Completions that may wait for the stores before running tasks must wait for them.
const COMPLETIONS: usize = 1024;

/// What a worker does wherever task and call do not say otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// Tasks of one queue that run at the same time, where the queue does not say. 1 to 10,000.
    pub concurrency: usize,
    /// Queues and how many of their tasks run at the same time; empty means `default`.
    pub queues: BTreeMap<String, usize>,
    /// How long a claim lasts unless it is extended; a lost worker is noticed after this. 100 ms to 1 h.
    pub lease: Duration,
    /// How long running tasks may go on at shutdown.
    pub grace: Duration,
    /// At this many lost workers a task goes to the dead letters; at least 1.
    pub max_losses: u32,
    /// Options of the configuration level.
    pub defaults: Options,
    /// Largest result in bytes.
    pub payload_limit: usize,
    /// Extend leases on the runtime of the worker instead of on a thread of its own. For tests
    /// with a clock of their own; in production a blocked runtime would lose its leases.
    pub lease_on_runtime: bool,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 100,
            queues: BTreeMap::new(),
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(25),
            max_losses: 3,
            defaults: Options::default(),
            payload_limit: PAYLOAD_BYTES,
            lease_on_runtime: false,
        }
    }
}

impl WorkerSettings {
    /// Checks every value, and gives the queues with their concurrency.
    ///
    /// # Errors
    /// `Invalid` with the key, the value and what is allowed.
    pub fn check(&self) -> Result<Vec<(QueueName, usize)>> {
        within("worker.lease", self.lease, Duration::from_millis(100), Duration::from_secs(3600))?;
        within("worker.grace", self.grace, Duration::ZERO, Duration::from_secs(86_400))?;
        if !(1..=PAYLOAD_BYTES_HARD).contains(&self.payload_limit) {
            return Err(Error::invalid(
                "limits.payload",
                self.payload_limit,
                format_args!("1 to {PAYLOAD_BYTES_HARD} bytes"),
            ));
        }
        if self.max_losses == 0 {
            return Err(Error::invalid("worker.max_losses", 0, "at least 1"));
        }
        let checked = |key: &'static str, concurrency: usize| match concurrency {
            1..=10_000 => Ok(concurrency),
            _ => Err(Error::invalid(key, concurrency, "1 to 10000")),
        };
        let fallback = checked("worker.concurrency", self.concurrency)?;
        if self.queues.is_empty() {
            return Ok(vec![(QueueName::default(), fallback)]);
        }
        let queue = |(queue, concurrency): (&String, &usize)| {
            let name =
                QueueName::new(queue).map_err(|error| Error::new(error.kind(), "worker.queues", error.message()))?;
            let concurrency = checked("worker.queues", *concurrency).map_err(|error| error.with("queue", queue))?;
            Ok((name, concurrency))
        };
        self.queues.iter().map(queue).collect()
    }
}

/// Builds a [`Worker`]. What is wrong with it is told by [`WorkerBuilder::start`].
#[derive(Debug)]
#[must_use = "a worker does nothing until it is started"]
pub struct WorkerBuilder {
    broker: Arc<dyn Broker>,
    backend: Option<Arc<dyn Backend>>,
    clock: Arc<dyn Clock>,
    settings: WorkerSettings,
    registry: Registry,
    names: Vec<&'static str>,
    /// The queues that the program has named.
    queues: Vec<String>,
    shared: Shared,
    layers: Vec<Arc<dyn Middleware>>,
    beside: Vec<Beside>,
    error: Option<Error>,
}

impl WorkerBuilder {
    /// A worker over the stores of a client.
    pub fn new(client: &Client, settings: WorkerSettings) -> Self {
        Self {
            broker: Arc::clone(client.broker()),
            backend: client.backend().cloned(),
            clock: Arc::clone(client.clock()),
            settings,
            registry: Registry::default(),
            names: Vec::new(),
            queues: Vec::new(),
            shared: Shared::default(),
            layers: Vec::new(),
            beside: Vec::new(),
            error: None,
        }
    }

    /// Runs the tasks of this type.
    pub fn register<T: Task>(self) -> Self {
        self.insert(T::NAME, Erased::of_task::<T>(), T::options())
    }

    /// Runs the tasks of this definition by a function or closure, async or not.
    ///
    /// Its first parameters may be `Context` and `State<T>`; the others are the arguments. A closure
    /// that shares what it has captured clones it for each run:
    /// `move |a: i64| { let db = db.clone(); async move { … } }`.
    pub fn register_fn<A, O, M, H>(self, definition: TaskDef<A, O>, handler: H) -> Self
    where
        A: Arguments,
        O: Serialize + Send + 'static,
        H: Handler<A, O, M>,
    {
        self.insert(definition.name(), Erased::of_fn(handler), Options::default())
    }

    fn insert(mut self, name: &'static str, handler: Erased, options: Options) -> Self {
        let inserted = self.registry.insert(name, handler, options);
        self.names.push(name);
        self.keep(inserted)
    }

    fn keep(mut self, outcome: Result<()>) -> Self {
        self.error = self.error.or(outcome.err());
        self
    }

    /// Serves this queue with up to `concurrency` tasks at the same time.
    ///
    /// It joins the queues of the configuration, and wins over what they say about the same one.
    /// Without any, the worker serves `default`.
    pub fn queue(mut self, queue: impl Into<String>, concurrency: usize) -> Self {
        let queue = queue.into();
        let again = self.queues.contains(&queue);
        self.settings.queues.insert(queue.clone(), concurrency);
        self.queues.push(queue.clone());
        let text = format!("the queue {queue:?} is named twice");
        self.keep(if again { Err(Error::new(ErrorKind::Config, "worker.queues", text)) } else { Ok(()) })
    }

    /// Tasks of one queue that run at the same time, where the queue does not say.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.settings.concurrency = concurrency;
        self
    }

    /// How long a claim lasts unless it is extended.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How long running tasks may go on at shutdown.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Shares a value with the tasks, which take it as a parameter `State<T>`.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.shared.insert(value);
        self
    }

    /// Puts code around every run; the first one given is the outermost.
    pub fn layer(mut self, layer: impl Middleware) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// Runs something of the application's from the start of the worker to its stop, such as the relay
    /// of an outbox. When the future that it is given is ready, the worker stops: a shutdown waits
    /// for it as it waits for tasks, within the grace.
    pub fn beside<W: Future<Output = ()> + Send + 'static>(
        mut self,
        begin: impl FnOnce(Stop) -> W + Send + 'static,
    ) -> Self {
        self.beside.push(Beside::new(begin));
        self
    }

    /// Starts the worker on the current tokio runtime.
    ///
    /// An unreachable broker is no error here: the worker tries again until it is back.
    ///
    /// # Errors
    /// `Config` or `Invalid` for whatever is wrong with the settings, with the key, the value and
    /// what is allowed.
    #[allow(clippy::unused_async, reason = "starting belongs on a runtime, and adapters may need to await here later")]
    pub async fn start(mut self) -> Result<Worker> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let queues = self.checked_queues()?;
        let settings = &self.settings;
        let leases = Arc::new(Leases::new(settings.lease));
        let keeping = CancellationToken::new();
        if settings.lease_on_runtime {
            tokio::spawn(lease::keep(Arc::clone(&self.broker), Arc::clone(&leases), keeping.clone()));
        } else {
            lease::keep_on_thread(Arc::clone(&self.broker), Arc::clone(&leases), keeping.clone()).map_err(|error| {
                Error::new(ErrorKind::Internal, "worker", "no thread for leases").with_source(error)
            })?;
        }
        let grace = settings.grace;
        let beside = std::mem::take(&mut self.beside);
        let engine = Arc::new(self.engine(leases));
        for work in beside {
            engine.executions.spawn(work.run(engine.stop.clone()));
        }
        let (sender, receiver) = mpsc::channel(COMPLETIONS);
        for (queue, concurrency) in &queues {
            let lane = Lane::new(Arc::clone(&engine), queue.clone(), *concurrency, sender.clone());
            engine.executions.spawn(lane.run());
        }
        drop(sender);
        let settling = tokio::spawn(settle::run(Arc::clone(&engine), receiver, keeping.drop_guard()));
        announce(&engine, &queues);
        warn_of_long_tasks(&engine);
        Ok(Worker::new(engine, settling, grace))
    }

    fn checked_queues(&self) -> Result<Vec<(QueueName, usize)>> {
        if self.names.is_empty() {
            let text = "no task is registered: add .register::<task>() or .register_fn(…)";
            return Err(Error::new(ErrorKind::Config, "worker", text));
        }
        self.settings.check()
    }

    fn engine(self, leases: Arc<Leases>) -> Engine {
        let base = ExecutionPolicy { max_losses: self.settings.max_losses, ..ExecutionPolicy::default() };
        let policy = base.with(&self.settings.defaults, Timestamp::default());
        let policy = ExecutionPolicy { expires_at: None, ..policy };
        let routes = self.names.iter().filter_map(|name| {
            let name = windlass_core::TaskName::new(name).ok()?;
            let registered = self.registry.get(&name)?;
            // The client has applied what the task says about expiry.
            let options = Options { expires: None, ..registered.options.clone() };
            let policy = policy.with(&options, Timestamp::default());
            Some((name, Route { handler: registered.handler.clone(), policy }))
        });
        Engine {
            routes: routes.collect(),
            broker: self.broker,
            backend: self.backend,
            clock: self.clock,
            policy,
            shared: Arc::new(self.shared),
            layers: self.layers,
            payload_limit: self.settings.payload_limit,
            leases,
            stats: Stats::default(),
            executions: TaskTracker::new(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
        }
    }
}

fn within(field: &'static str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(field, format_args!("{value:?}"), format_args!("{least:?} to {most:?}")))
}

/// A store that takes back what is held too long makes long tasks run twice.
fn warn_of_long_tasks(engine: &Engine) {
    let capabilities = engine.broker.capabilities();
    let Some(limit) = capabilities.max_claim else { return };
    let safe = limit - limit / 6;
    for (task, route) in &engine.routes {
        if let Some(timeout) = route.policy.timeout.filter(|timeout| *timeout > safe) {
            let broker = capabilities.name;
            tracing::warn!(target: "windlass::worker", %task, ?timeout, ?limit, broker, "it may be redelivered while it runs: the broker takes back what is held longer than its limit");
        }
    }
}

fn announce(engine: &Engine, queues: &[(QueueName, usize)]) {
    let mut tasks: Vec<&str> = engine.routes.keys().map(|name| name.as_str()).collect();
    tasks.sort_unstable();
    let broker = engine.broker.capabilities().name;
    let backend = engine.backend.as_ref().map_or("none", |backend| backend.capabilities().name);
    tracing::info!(target: "windlass::worker", ?queues, ?tasks, broker, backend, "worker started");
}
