use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_core::{
    Broker, CancelOutcome, Capabilities, DeadPage, Delivery, Error, ErrorKind, FetchRequest, LeaseStatus, Location,
    Message, PublishOutcome, QueueName, Receipt, Replay, Result, SettleOutcome, Settlement, TaskId,
};

use crate::config::{AmqpBrokerConfig, Place, QueueType};
use crate::connection::Link;
use crate::gauge::Gauges;
use crate::sender::Sender;
use crate::session::Session;
use crate::thread::{Spawner, Thread, closed};
use crate::topology::Topology;
use crate::trim::Trims;
use crate::{consume, dead, publish, settle};

/// The RabbitMQ broker. See the documentation of the crate.
pub struct AmqpBroker {
    shared: Arc<Shared>,
    /// Ends the thread when the broker is dropped or closed.
    thread: Mutex<Option<Thread>>,
}

/// What the parts of a broker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: AmqpBrokerConfig,
    pub(crate) spawner: Spawner,
    pub(crate) parts: Arc<Parts>,
    sessions: Mutex<HashMap<QueueName, Arc<Session>>>,
    /// What waits in queues that are limited.
    pub(crate) gauges: Gauges,
    /// When dead letters are looked after.
    pub(crate) trims: Trims,
    /// One at a time looks at dead letters.
    pub(crate) reading: Arc<tokio::sync::Mutex<()>>,
    closed: AtomicBool,
    closing: Notify,
}

/// What consuming a queue needs.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) spawner: Spawner,
    pub(crate) topology: Topology,
    pub(crate) consume: Link,
    pub(crate) sender: Sender,
    pub(crate) queue_type: QueueType,
    operation_timeout: Duration,
}

impl Parts {
    /// The end of the time for something that somebody waits for.
    pub(crate) fn soon(&self) -> Instant {
        Instant::now() + self.operation_timeout
    }
}

impl AmqpBroker {
    /// Connects, once to publish and once to consume.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for a wrong setting, [`Unavailable`](ErrorKind::Unavailable) if
    /// the server cannot be reached, [`Denied`](ErrorKind::Denied) if it refuses the user or the
    /// virtual host.
    pub async fn connect(config: AmqpBrokerConfig) -> Result<Self> {
        let broker = Self::open(config)?;
        let parts = Arc::clone(&broker.shared.parts);
        let opened = broker.shared.spawner.start(async move {
            parts.sender.link.live().await?;
            parts.consume.live().await.map(drop)
        });
        opened.await??;
        Ok(broker)
    }

    /// Checks the settings and connects when it is first needed.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for a wrong setting.
    pub fn open(config: AmqpBrokerConfig) -> Result<Self> {
        let place = config.check()?;
        Self::open_at(config, place.clone(), place)
    }

    /// As [`AmqpBroker::open`] with a way for each of the connections.
    pub(crate) fn open_at(config: AmqpBrokerConfig, publishing: Place, consuming: Place) -> Result<Self> {
        let thread = Thread::start()?;
        let topology = Topology::new(&config);
        let publishing = Link::new(&config, publishing, "publish");
        let parts = Parts {
            spawner: thread.spawner(),
            consume: Link::new(&config, consuming, "consume"),
            sender: Sender::new(publishing, topology.clone(), config.operation_timeout, config.max_length.is_some()),
            topology,
            queue_type: config.queue_type,
            operation_timeout: config.operation_timeout,
        };
        let shared = Shared {
            spawner: thread.spawner(),
            parts: Arc::new(parts),
            sessions: Mutex::default(),
            gauges: Gauges::default(),
            trims: Trims::default(),
            reading: Arc::default(),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            config,
        };
        Ok(Self { shared: Arc::new(shared), thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn shared(&self) -> Result<&Arc<Shared>> {
        self.shared.check_open()?;
        Ok(&self.shared)
    }
}

impl Shared {
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// Ends when the broker is closed.
    pub(crate) async fn closed(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        closing.as_mut().enable();
        if !self.closed.load(Ordering::Acquire) {
            closing.await;
        }
    }

    pub(crate) fn session(&self, queue: &QueueName) -> Arc<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = sessions.get(queue) {
            return Arc::clone(session);
        }
        let session = Arc::new(Session::new(queue.clone(), Arc::clone(&self.parts)));
        sessions.insert(queue.clone(), Arc::clone(&session));
        session
    }

    /// How many messages of a queue have come here and are not fetched.
    pub(crate) fn buffered(&self, queue: &QueueName) -> u64 {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(queue).map_or(0, |session| session.lock().buffer.len() as u64)
    }

    /// How many nodes hold a queue cannot be asked over AMQP.
    fn risks(&self) -> Vec<String> {
        let classic = "classic queues are on one node: what waits is lost with its disk, and cannot be reached \
                       while it is down (setting: broker.queue_type)";
        let blocked = "RabbitMQ is low on memory or disk: it takes no messages until that is over";
        let is_classic = self.config.queue_type == QueueType::Classic;
        let known = [(is_classic, classic), (self.parts.sender.is_blocked(), blocked)];
        known.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned()).collect()
    }

    async fn close(&self) {
        let sessions: Vec<Arc<Session>> = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.drain().map(|(_, session)| session).collect()
        };
        for session in sessions {
            session.close().await;
        }
        self.parts.consume.close().await;
        self.parts.sender.close().await;
    }
}

fn unsupported(operation: &'static str, text: &str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, format!("RabbitMQ cannot {text}"))
}

#[async_trait]
impl Broker for AmqpBroker {
    fn capabilities(&self) -> Capabilities {
        let config = &self.shared.config;
        let mut capabilities = Capabilities::all("RabbitMQ");
        capabilities.delay_step = Duration::from_secs(1);
        capabilities.lease = false;
        capabilities.max_claim = Some(config.consumer_timeout);
        capabilities.fencing = false;
        capabilities.cancel = false;
        capabilities.locate = false;
        capabilities.idempotent = false;
        capabilities.drop_oldest = false;
        capabilities.max_payload = config.payload;
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

    async fn extend(&self, receipts: &[Receipt], _lease: Duration) -> Result<Vec<LeaseStatus>> {
        Ok(settle::extend(self.shared()?, receipts))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        settle::settle(self.shared()?, settlements).await
    }

    async fn cancel(&self, _queue: &QueueName, _id: &TaskId) -> Result<CancelOutcome> {
        self.shared()?;
        Err(unsupported("cancel", "take a message out of the middle of a queue"))
    }

    async fn locate(&self, _queue: &QueueName, _id: &TaskId) -> Result<Option<Location>> {
        self.shared()?;
        Err(unsupported("locate", "find a message by its id"))
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        dead::dead_letters(self.shared()?, queue, cursor, max).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        dead::replay(self.shared()?, queue, letters).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        dead::discard(self.shared()?, queue, ids).await
    }

    fn risks(&self) -> Vec<String> {
        self.shared.risks()
    }

    async fn close(&self) {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.closing.notify_waiters();
        let shared = Arc::clone(&self.shared);
        let limit = 2 * self.shared.config.operation_timeout;
        let closing = self.shared.spawner.start(async move { tokio::time::timeout(limit, shared.close()).await });
        // What could not be given back in time is handed out again when the connection ends.
        let _ = closing.await;
        drop(self.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl fmt::Debug for AmqpBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBroker")
            .field("config", &self.shared.config)
            .field("closed", &self.shared.closed)
            .finish_non_exhaustive()
    }
}
