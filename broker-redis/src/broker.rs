use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use windlass_core::{
    Broker, CancelOutcome, Capabilities, DeadPage, Delivery, FetchRequest, LeaseStatus, Location, Message,
    PublishOutcome, QueueName, Receipt, Replay, Result, SettleOutcome, Settlement, TaskId,
};

use crate::bell::Bell;
use crate::config::RedisBrokerConfig;
use crate::connection::Link;
use crate::error::{Failed, Reaction};
use crate::publish::Publisher;
use crate::scripts::Call;
use crate::thread::{Spawner, Thread, closed};
use crate::{consume, inspect, publish, settle};

/// The Redis broker. See the documentation of the crate.
pub struct RedisBroker {
    shared: Arc<Shared>,
    /// Ends the thread when the broker is dropped or closed.
    thread: Mutex<Option<Thread>>,
}

/// What the parts of a broker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: RedisBrokerConfig,
    pub(crate) spawner: Spawner,
    pub(crate) commands: Link,
    pub(crate) bell: Arc<Bell>,
    pub(crate) publisher: Publisher,
    closed: AtomicBool,
}

impl RedisBroker {
    /// Connects, and looks whether the server is one that this broker can use.
    ///
    /// # Errors
    /// [`Config`](windlass_core::ErrorKind::Config) for a wrong setting or a server that is too old,
    /// [`Unavailable`](windlass_core::ErrorKind::Unavailable) if it cannot be reached,
    /// [`Denied`](windlass_core::ErrorKind::Denied) if it refuses the user.
    pub async fn connect(config: RedisBrokerConfig) -> Result<Self> {
        let broker = Self::open(config)?;
        let link = broker.shared.commands.clone();
        broker.shared.spawner.start(async move { link.open().await }).await??;
        Ok(broker)
    }

    /// Checks the settings and connects when it is first needed.
    ///
    /// # Errors
    /// [`Config`](windlass_core::ErrorKind::Config) for a wrong setting.
    pub fn open(config: RedisBrokerConfig) -> Result<Self> {
        let info = config.check()?;
        let thread = Thread::start()?;
        let link = |info, curious| {
            Link::new(&config, info, curious).map_err(|error| {
                windlass_core::Error::new(windlass_core::ErrorKind::Config, "broker.url", error.to_string())
            })
        };
        let commands = link(info.clone(), true)?;
        let bell = Bell::new(config.prefix.clone(), thread.spawner(), link(info, false)?, commands.clone());
        let shared = Shared {
            spawner: thread.spawner(),
            commands,
            bell: Arc::new(bell),
            publisher: Publisher::new(),
            closed: AtomicBool::new(false),
            config,
        };
        Ok(Self { shared: Arc::new(shared), thread: Mutex::new(Some(thread)) })
    }

    fn shared(&self) -> Result<&Arc<Shared>> {
        self.shared.check_open()?;
        Ok(&self.shared)
    }
}

impl Shared {
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// Runs a script on the thread of the broker. It is started at once.
    pub(crate) fn run(self: &Arc<Self>, queue: &QueueName, call: Call) -> impl Future<Output = Result<Value>> + Send {
        let (shared, queue) = (Arc::clone(self), queue.clone());
        let link = self.commands.clone();
        let running = self.spawner.start(async move { link.run(&call).await });
        async move {
            match running.await? {
                Ok(answer) => Ok(answer),
                Err(failed) => Err(shared.explain(&queue, failed).await),
            }
        }
    }

    /// The error of a request; names the key if one of our keys is of a foreign type.
    pub(crate) async fn explain(&self, queue: &QueueName, failed: Failed) -> windlass_core::Error {
        if failed.reaction != Reaction::Inspect {
            return failed.error;
        }
        let (link, prefix, queue) = (self.commands.clone(), self.config.prefix.clone(), queue.clone());
        let look = self.spawner.start(async move { inspect::foreign_key(&link, &prefix, &queue).await });
        match look.await {
            Ok(Some((key, found, expected))) => {
                failed.error.with("key", key).with("type", found).with("expected", expected)
            }
            _ => failed.error,
        }
    }

    /// How long the server remembers a publish call: longer than it can be repeated.
    pub(crate) fn remember_calls(&self) -> Duration {
        let RedisBrokerConfig { send_timeout, operation_timeout, .. } = self.config;
        (2 * (send_timeout + operation_timeout)).max(Duration::from_secs(30))
    }
}

#[async_trait]
impl Broker for RedisBroker {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("redis");
        capabilities.max_payload = self.shared.config.payload;
        capabilities
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        publish::publish(self.shared()?, messages).await
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        consume::ready(self.shared()?, queue, wait).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        consume::fetch(self.shared()?, request).await
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        settle::extend(self.shared()?, receipts, lease).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        settle::settle(self.shared()?, settlements).await
    }

    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        inspect::cancel(self.shared()?, queue, id).await
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        inspect::locate(self.shared()?, queue, id).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        inspect::dead_letters(self.shared()?, queue, cursor, max).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        inspect::replay(self.shared()?, queue, letters).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        inspect::discard(self.shared()?, queue, ids).await
    }

    fn risks(&self) -> Vec<String> {
        self.shared.commands.risks()
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.bell.end();
        drop(self.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker")
            .field("config", &self.shared.config)
            .field("closed", &self.shared.closed)
            .finish_non_exhaustive()
    }
}
