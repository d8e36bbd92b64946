use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::message::Arguments;
use windlass_core::policy::PriorityOrder;
use windlass_core::task::{Erased, Handler};
use windlass_core::{
    Backend, Broker, Clock, Error, ErrorKind, ExecutionPolicy, Options, QueueName, Registry, Result, Shared, Task,
    TaskDef, Timestamp,
};

use super::announce::announce;
use super::beside::{Beside, Stop};
use super::callbacks::Callbacks;
use super::engine::{Engine, Route};
use super::lane::{self, Lane, Member, QueueOrder, Service};
use super::lease::{self, Leases};
use super::middleware::Middleware;
use super::services;
use super::settings::WorkerSettings;
use super::settle;
use super::shutdown::Worker;
use super::stats::Stats;
use crate::client::Client;

/// Completions that may wait for the stores before running tasks must wait for them.
const COMPLETIONS: usize = 1024;

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
    client: Client,
    pub(super) callbacks: Callbacks,
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
            client: client.clone(),
            callbacks: Callbacks::default(),
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

    /// How the priorities of one queue are ordered: by default a few places are kept for what is less
    /// urgent, so that it never starves.
    pub fn priorities(mut self, order: PriorityOrder) -> Self {
        self.settings.priorities = order;
        self
    }

    /// How the queues share the places of this worker. Other than independent queues need
    /// [`WorkerBuilder::total`].
    pub fn order(mut self, order: QueueOrder) -> Self {
        self.settings.order = order;
        self
    }

    /// Tasks of all queues that run at the same time, where they share their places. The concurrency
    /// of a queue is then the most that it can have of them.
    pub fn total(mut self, places: usize) -> Self {
        self.settings.total = Some(places);
        self
    }

    /// How much a queue counts where queues share their places; where nothing is said, 1.
    pub fn weight(mut self, queue: impl Into<String>, weight: u32) -> Self {
        self.settings.weights.insert(queue.into(), weight);
        self
    }

    /// How long a running task that somebody has cancelled may still go on after it was told. 5 s unless it
    /// is set: long enough to undo or to hand over, short enough for who waits for it to be gone.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.settings.cancel_grace = grace;
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
        self.callbacks.check(&self.names)?;
        super::panic::note_places();
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
        let settings = settings.clone();
        let beside = std::mem::take(&mut self.beside);
        let engine = Arc::new(self.engine(leases));
        engine.attend(&keeping);
        for work in beside {
            engine.executions.spawn(work.run(engine.stop.clone()));
        }
        let (sender, receiver) = mpsc::channel(COMPLETIONS);
        let services = each_service(&engine, &settings, &queues);
        let lanes: Vec<Arc<Lane>> =
            services.into_iter().map(|service| Lane::new(Arc::clone(&engine), service, sender.clone())).collect();
        drop(sender);
        let settling = tokio::spawn(settle::run(Arc::clone(&engine), receiver, keeping.drop_guard()));
        announce(&engine, &settings, &queues);
        for lane in &lanes {
            engine.executions.spawn(Arc::clone(lane).run());
        }
        engine.executions.spawn(lane::watch_pauses(Arc::clone(&engine), lanes));
        Ok(Worker::new(engine, settling, settings.grace))
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
            let callbacks = self.callbacks.of(name.as_str());
            Some((name, Route { handler: registered.handler.clone(), policy, callbacks }))
        });
        let routes = routes.collect();
        let reporter = services::reporter(self.backend.as_ref(), &leases);
        let shared = services::shared(self.shared, &self.client, reporter.as_ref());
        Engine {
            routes,
            broker: self.broker,
            backend: self.backend,
            clock: self.clock,
            policy,
            shared: Arc::new(shared),
            layers: self.layers,
            payload_limit: self.settings.payload_limit,
            leases,
            stats: Stats::default(),
            executions: TaskTracker::new(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            callbacks: self.callbacks.of_all(),
            callback_limit: self.callbacks.limit,
            cancel_grace: self.settings.cancel_grace,
            reporter,
        }
    }
}

/// What each lane serves, and its part in the places that all share.
fn each_service(engine: &Engine, settings: &WorkerSettings, queues: &[(QueueName, usize)]) -> Vec<Service> {
    let watched = engine.backend.as_ref().is_some_and(|backend| backend.notebook().is_some());
    let members: Vec<Member> = match settings.total {
        Some(total) => {
            let weights: Vec<(u32, usize)> =
                queues.iter().map(|(queue, concurrency)| (settings.weight(queue), *concurrency)).collect();
            lane::share(settings.order, total, &weights)
        }
        None => Vec::new(),
    };
    let service = |(at, (queue, concurrency)): (usize, &(QueueName, usize))| Service {
        queue: queue.clone(),
        concurrency: *concurrency,
        priorities: settings.priorities,
        member: members.get(at).cloned(),
        watched,
    };
    queues.iter().enumerate().map(service).collect()
}
