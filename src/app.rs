use std::sync::Arc;

use windlass_core::broker::Overflow;
use windlass_core::{Backend, Broker, Call, DeadPage, IntoFlow, Options, QueueName, Result, TaskId};
use windlass_runtime::{
    Cancellation, Client, ClientSettings, DeadLetters, FlowHandle, Queue, TaskHandle, WorkerBuilder, WorkerSettings,
};

use crate::config::{self, Config};
use crate::connect::{self, Stores};
use crate::periodic;

/// An application's connection to its tasks: sends them, waits for them, and makes workers.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Windlass {
    client: Client,
    worker: Arc<WorkerSettings>,
    #[cfg(feature = "postgres")]
    pub(crate) outbox: Option<windlass_backend_postgres::Outbox>,
    #[cfg(feature = "periodic")]
    pub(crate) no_scheduler: bool,
}

impl Windlass {
    /// Connects by URL alone, with defaults for everything else.
    ///
    /// The scheme chooses the adapter: `memory://`, `redis://…`, `amqp://…`. Results are kept in the
    /// same store, if it can keep any (RabbitMQ cannot); for another one, or none, see
    /// [`Windlass::builder`].
    ///
    /// # Errors
    /// `Config` for a wrong URL or an adapter that is not compiled in, `Unavailable` if the server
    /// cannot be reached.
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().broker(url).connect().await
    }

    /// Connects by `windlass.toml`, the profile named by `WINDLASS_PROFILE`, and `WINDLASS_*`
    /// variables, in this order, the last one wins.
    ///
    /// # Errors
    /// As [`Config::load`] and [`Windlass::connect`].
    #[cfg(feature = "config")]
    pub async fn from_config() -> Result<Self> {
        Self::builder().config(Config::load()?).connect().await
    }

    /// Connects step by step.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Enqueues a task; see [`Client::enqueue`].
    ///
    /// # Errors
    /// As [`Client::enqueue`].
    pub async fn enqueue<O>(&self, call: Call<O>) -> Result<TaskHandle<O>> {
        self.client.enqueue(call).await
    }

    /// Enqueues many tasks in few round trips; see [`Client::enqueue_many`].
    pub async fn enqueue_many<O>(&self, calls: impl IntoIterator<Item = Call<O>>) -> Vec<Result<TaskHandle<O>>> {
        self.client.enqueue_many(calls).await
    }

    /// Enqueues a workflow: tasks that follow from each other; see [`Client::enqueue_flow`].
    ///
    /// # Errors
    /// As [`Client::enqueue_flow`].
    pub async fn enqueue_flow<F: IntoFlow>(&self, flow: F) -> Result<FlowHandle<F::Output>> {
        self.client.enqueue_flow(flow).await
    }

    /// A handle to a workflow that was enqueued elsewhere; `O` is what its result is read as.
    pub fn flow_of<O>(&self, id: TaskId) -> FlowHandle<O> {
        self.client.flow_of(id)
    }

    /// A handle to a task that was enqueued elsewhere, in that queue; `O` is what its result is read as.
    pub fn handle_of<O>(&self, id: TaskId, queue: QueueName) -> TaskHandle<O> {
        self.client.handle_of(id, queue)
    }

    /// Cancels a task by its id and its queue, from any process; see [`TaskHandle::cancel`].
    ///
    /// # Errors
    /// As [`TaskHandle::cancel_because`].
    pub async fn cancel(&self, id: TaskId, queue: QueueName, reason: Option<&str>) -> Result<Cancellation> {
        self.client.cancel(id, queue, reason).await
    }

    /// Lists tasks that failed for good, the oldest first; see [`Client::dead_letters`].
    ///
    /// # Errors
    /// As [`Client::dead_letters`].
    pub async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.client.dead_letters(queue, cursor, max).await
    }

    /// Puts dead letters back into their queue; see [`Client::replay`].
    ///
    /// # Errors
    /// As [`Client::replay`].
    pub async fn replay(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.client.replay(queue, ids).await
    }

    /// The dead letters of a queue: to list, to replay as they were or edited, or to discard them.
    ///
    /// # Errors
    /// `Invalid` if that is no name of a queue.
    pub fn dead(&self, queue: impl AsRef<str>) -> Result<DeadLetters> {
        self.client.dead(queue)
    }

    /// A queue as a whole: to pause, to resume, to purge, or to move its tasks.
    ///
    /// # Errors
    /// `Invalid` if that is no name of a queue.
    pub fn queue(&self, queue: impl AsRef<str>) -> Result<Queue> {
        self.client.queue(queue)
    }

    /// A worker to add tasks to and start.
    pub fn worker(&self) -> WorkerBuilder {
        let worker = WorkerBuilder::new(&self.client, WorkerSettings::clone(&self.worker));
        #[cfg(feature = "postgres")]
        let worker = self.with_relay(worker);
        #[cfg(feature = "periodic")]
        let worker = self.with_scheduler(worker);
        worker
    }

    /// The client alone, for code that only sends.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Releases the connections. Workers should be shut down before.
    pub async fn close(&self) {
        self.client.broker().close().await;
        if let Some(backend) = self.client.backend() {
            backend.close().await;
        }
    }
}

/// Builds a [`Windlass`]. What is set here wins over the configuration.
#[derive(Debug, Default)]
#[must_use = "nothing is connected before .connect()"]
pub struct Builder {
    config: Config,
    stores: Option<Stores>,
    defaults: Options,
    #[cfg(feature = "postgres")]
    pub(crate) outbox_pool: Option<sqlx::PgPool>,
    #[cfg(feature = "periodic")]
    pub(crate) no_scheduler: bool,
}

impl Builder {
    /// Takes everything from this configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The URL of the broker.
    pub fn broker(mut self, url: impl Into<String>) -> Self {
        self.config.broker.set_url(url.into());
        self
    }

    /// The URL of the store for results; by default that of the broker. `none` keeps no results.
    pub fn backend(mut self, url: impl Into<String>) -> Self {
        self.config.backend.get_or_insert_default().set_url(url.into());
        self
    }

    /// Stores of the application's own, for example for tests.
    pub fn stores(mut self, broker: Arc<dyn Broker>, backend: Option<Arc<dyn Backend>>) -> Self {
        self.stores = Some((broker, backend));
        self
    }

    /// Options for every task that says nothing else; wins over the section `defaults`.
    pub fn defaults(mut self, defaults: Options) -> Self {
        self.defaults = defaults;
        self
    }

    /// How many tasks may wait in a queue, those that wait for their time included, and what happens
    /// beyond; wins over the section `queues.<name>`.
    pub fn queue_limit(mut self, queue: impl Into<String>, max_length: u64, overflow: Overflow) -> Self {
        let limited = self.config.queues.entry(queue.into()).or_default();
        (limited.max_length, limited.overflow) = (Some(max_length), Some(overflow));
        self
    }

    /// Checks everything and connects.
    ///
    /// # Errors
    /// `Config` for whatever is wrong, with the key, the value and what is allowed; `Unavailable`
    /// if a server cannot be reached.
    pub async fn connect(self) -> Result<Windlass> {
        let config = &self.config;
        let payload_limit = config.limits.checked_payload()?;
        let defaults = self.defaults.or(&config.defaults.options()?);
        let mut worker = config.worker.settings(&defaults, payload_limit)?;
        let limits = config::limits(&config.queues)?;
        #[cfg(not(feature = "postgres"))]
        connect::no_outbox(config)?;
        periodic::check(&config.periodic)?;
        let (broker, backend) = match self.stores {
            Some(stores) => stores,
            None => {
                worker.addresses = connect::addresses(config);
                connect::stores(config).await?
            }
        };
        let mut settings = ClientSettings::default();
        settings.defaults = defaults;
        settings.payload_limit = payload_limit;
        settings.remember = config.limits.remember;
        settings.limits = limits;
        settings.check(&broker.capabilities())?;
        #[cfg(feature = "postgres")]
        let outbox = crate::outbox::open(config.outbox.as_ref(), self.outbox_pool).await?;
        let app = Windlass {
            client: Client::new(broker, backend, settings),
            worker: Arc::new(worker),
            #[cfg(feature = "postgres")]
            outbox,
            #[cfg(feature = "periodic")]
            no_scheduler: self.no_scheduler,
        };
        #[cfg(feature = "periodic")]
        app.ensure(&config.periodic).await?;
        Ok(app)
    }
}
