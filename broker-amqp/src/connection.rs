//! The only file that opens and repairs connections. The driver's own recovery stays off: what it
//! would restore silently (consumers, delivery tags) is void after a loss, and we must know.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, sleep_until, timeout};
use windlass_core::{Error, ErrorKind, Result};

use crate::config::{AmqpBrokerConfig, Place};
use crate::error::{failed, not_connected, too_slow, unreachable};
use crate::socket::Socket;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a connection of which one channel is silent may take to show that it answers at all.
const SIGN: Duration = Duration::from_secs(1);

/// One supervised connection: opened when it is first needed, given up at the first sign that it
/// is broken, opened again by whoever needs it next.
///
/// Every method must run on the thread of [`crate::thread::Thread`]: the driver takes its reactor
/// and its timers from the runtime that it is called on.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    /// What the server shows in its list of connections.
    role: &'static str,
    connect_timeout: Duration,
    operation_timeout: Duration,
    live: Mutex<Option<Live>>,
    opening: tokio::sync::Mutex<Pace>,
    /// Attempts that have failed so far.
    failures: AtomicU64,
    generations: AtomicU64,
}

/// A connection that is open as far as we know.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) generation: u64,
    pub(crate) connection: Arc<Connection>,
    socket: Socket,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// When the next attempt to connect may start.
#[derive(Debug)]
struct Pace {
    failed: u32,
    next: Instant,
    last: Option<Error>,
}

impl Link {
    /// Prepares a connection, without contacting the server.
    pub(crate) fn new(config: &AmqpBrokerConfig, place: Place, role: &'static str) -> Self {
        Self::prepare(place, role, config.connect_timeout, config.operation_timeout)
    }

    fn prepare(place: Place, role: &'static str, connect_timeout: Duration, operation_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            place,
            role,
            connect_timeout,
            operation_timeout,
            live: Mutex::new(None),
            opening: tokio::sync::Mutex::new(Pace { failed: 0, next: Instant::now(), last: None }),
            failures: AtomicU64::new(0),
            generations: AtomicU64::new(0),
        }))
    }

    /// Prepares another connection to the same server.
    pub(crate) fn beside(&self, role: &'static str) -> Self {
        let Inner { connect_timeout, operation_timeout, .. } = *self.0;
        Self::prepare(self.0.place.clone(), role, connect_timeout, operation_timeout)
    }

    /// `host:port`, for texts.
    pub(crate) fn address(&self) -> &str {
        &self.0.place.address
    }

    /// The open connection, or a new one. Callers that come while one is being opened get the
    /// outcome of that attempt, not an attempt each.
    pub(crate) async fn live(&self) -> Result<Live> {
        self.0.live().await
    }

    /// The connection, if it is open as far as we know.
    pub(crate) fn current(&self) -> Option<Live> {
        self.0.current()
    }

    /// Waits for an answer of the server, at most as long as one request may take. A server that does
    /// not answer loses its connection.
    pub(crate) async fn ask<T>(
        &self,
        operation: &'static str,
        live: &Live,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T> {
        self.named(operation, self.answer(live, answer).await)
    }

    /// What [`Link::answer`] has answered, as an error of ours.
    pub(crate) fn named<T>(&self, operation: &'static str, answer: Option<lapin::Result<T>>) -> Result<T> {
        match answer {
            Some(answer) => answer.map_err(|cause| failed(operation, &cause, false, self.address())),
            None => Err(too_slow(operation, false, self.address())),
        }
    }

    /// As [`Link::ask`] with the error of the driver; `None` if there was no answer in time.
    pub(crate) async fn answer<T>(
        &self,
        live: &Live,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Option<lapin::Result<T>> {
        let answer = self.patiently(live, answer).await;
        // A blocked server answers later, and says so; another connection would be blocked too.
        if answer.is_none() && !live.connection.status().blocked() {
            self.give_up(live.generation, &"no answer in time");
        }
        answer
    }

    /// As [`Link::answer`], but a silence costs nothing.
    pub(crate) async fn patiently<T>(
        &self,
        live: &Live,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Option<lapin::Result<T>> {
        let answer = timeout(self.0.operation_timeout, answer).await.ok();
        if let Some(Err(cause)) = &answer
            && !live.connection.status().connected()
        {
            self.give_up(live.generation, cause);
        }
        answer
    }

    /// After a silence: whether it is only one channel that is silent, as it is while a quorum queue has
    /// no leader.
    pub(crate) async fn is_answering(&self, live: &Live) -> bool {
        let sign = timeout(SIGN.min(self.0.operation_timeout), live.connection.create_channel()).await;
        matches!(sign, Ok(Ok(_)))
    }

    /// A new channel of the connection.
    pub(crate) async fn channel(&self, operation: &'static str, live: &Live) -> Result<Channel> {
        self.ask(operation, live, live.connection.create_channel()).await
    }

    pub(crate) fn give_up(&self, generation: u64, why: &dyn fmt::Display) {
        self.0.give_up(generation, why);
    }

    /// Closes a channel, so that what it was given goes back at once. A server that does not answer
    /// loses the connection.
    pub(crate) async fn close_channel(&self, live: &Live, channel: &Channel) {
        if timeout(self.0.operation_timeout, channel.close(200, "given up".into())).await.is_err() {
            self.give_up(live.generation, &"a channel did not close in time");
        }
    }

    /// Says goodbye, if there is anybody to say it to.
    pub(crate) async fn close(&self) {
        let live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(live) = live {
            let _ = timeout(Duration::from_secs(1), live.connection.close(200, "closed".into())).await;
            live.socket.kill();
        }
    }
}

impl Inner {
    fn current(&self) -> Option<Live> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.clone().filter(|live| live.connection.status().connected())
    }

    fn give_up(&self, generation: u64, why: &dyn fmt::Display) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.take_if(|live| live.generation == generation) {
            live.socket.kill();
            tracing::debug!(target: "windlass::broker::amqp", rabbitmq = self.place.address, role = self.role,
                "connection given up: {why}");
        }
    }

    async fn live(&self) -> Result<Live> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let seen = self.failures.load(Ordering::Acquire);
        let mut pace = self.opening.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if self.failures.load(Ordering::Acquire) != seen
            && let Some(error) = &pace.last
        {
            return Err(error.duplicate());
        }
        sleep_until(pace.next).await;
        let opened = timeout(self.connect_timeout, self.connect()).await;
        let opened = opened.unwrap_or_else(|_| {
            let text = "cannot reach RabbitMQ: it did not answer in time".to_owned();
            Err(unreachable(&self.place, ErrorKind::Unavailable, text))
        });
        match opened {
            Ok(live) => {
                self.connected(&mut pace);
                let before = self.live.lock().unwrap_or_else(PoisonError::into_inner).replace(live.clone());
                // The driver takes it for ended, but may still wait for the answer to its goodbye.
                before.iter().for_each(|before| before.socket.kill());
                Ok(live)
            }
            Err(error) => Err(self.not_connected(&mut pace, error)),
        }
    }

    fn connected(&self, pace: &mut Pace) {
        if pace.failed > 0 {
            tracing::info!(target: "windlass::broker::amqp", rabbitmq = self.place.address, role = self.role,
                "connected again");
        }
        pace.failed = 0;
        pace.last = None;
    }

    fn not_connected(&self, pace: &mut Pace, error: Error) -> Error {
        if pace.failed == 0 {
            tracing::warn!(target: "windlass::broker::amqp", rabbitmq = self.place.address, role = self.role,
                "{error}; trying again");
        }
        pace.next = Instant::now() + pause(pace.failed);
        pace.failed = pace.failed.saturating_add(1);
        pace.last = Some(error.duplicate());
        self.failures.fetch_add(1, Ordering::Release);
        error
    }

    async fn connect(&self) -> Result<Live> {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("windlass {} {}", env!("CARGO_PKG_VERSION"), self.role);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let socket = Socket::default();
        let opened = socket.connect(self.place.uri.clone(), properties, self.connect_timeout).await;
        let connection = opened.map_err(|cause| not_connected(&cause, &self.place))?;
        Ok(Live { generation, connection: Arc::new(connection), socket })
    }
}

/// A random pause that grows with the number of failures before it.
pub(crate) fn pause(failed: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failed.min(8)).min(LONGEST_PAUSE);
    most.mul_f64(fastrand::f64())
}
