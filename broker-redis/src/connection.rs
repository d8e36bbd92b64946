//! The only file that opens and repairs connections.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError, Value,
};
use tokio::time::{Instant, sleep_until, timeout};
use windlass_core::{Error, Result};

use crate::config::RedisBrokerConfig;
use crate::error::{Failed, Reaction, failed, not_connected};
use crate::scripts::{Call, Step};
use crate::server::Server;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a call loads its script before it gives up: scripts can be flushed in between.
const LOADS: usize = 3;

/// One supervised connection: opened when it is first needed, given up at the first sign that it
/// is broken, opened again by whoever needs it next.
///
/// Every method must run on the thread of [`crate::thread::Thread`].
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    /// Host and port, or the path.
    address: String,
    connect_timeout: Duration,
    operation_timeout: Duration,
    /// Whether to look what kind of server it is.
    curious: bool,
    live: Mutex<Option<Live>>,
    opening: tokio::sync::Mutex<Pace>,
    /// Attempts that have failed so far.
    failures: AtomicU64,
    generations: AtomicU64,
    warned: Once,
    /// What could be lost on the server, as the last connection has found it.
    risks: Mutex<Vec<String>>,
}

/// A connection that is open as far as we know.
#[derive(Debug, Clone)]
struct Live {
    generation: u64,
    connection: MultiplexedConnection,
    /// What the server calls it.
    id: Option<i64>,
}

/// When the next attempt to connect may start.
#[derive(Debug)]
struct Pace {
    failed: u32,
    next: Instant,
    last: Option<Error>,
}

impl Link {
    /// Prepares a connection to the place of `info`, without contacting it.
    pub(crate) fn new(config: &RedisBrokerConfig, info: ConnectionInfo, curious: bool) -> redis::RedisResult<Self> {
        let address = info.addr().to_string();
        // The third version of the protocol tells at once when the server closes the connection.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let settings = settings.set_lib_name("windlass", env!("CARGO_PKG_VERSION"));
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        Ok(Self(Arc::new(Inner {
            client: Client::open(info)?,
            address,
            connect_timeout: config.connect_timeout,
            operation_timeout: config.operation_timeout,
            curious,
            live: Mutex::new(None),
            opening: tokio::sync::Mutex::new(Pace { failed: 0, next: Instant::now(), last: None }),
            failures: AtomicU64::new(0),
            generations: AtomicU64::new(0),
            warned: Once::new(),
            risks: Mutex::default(),
        })))
    }

    /// Opens the connection if it is not open.
    pub(crate) async fn open(&self) -> Result<()> {
        self.0.live().await.map(|_| ()).map_err(|failed| failed.error)
    }

    /// Whether it is open, as far as we know.
    pub(crate) fn is_open(&self) -> bool {
        self.0.current().is_some()
    }

    /// What the server calls this connection, if it is open.
    pub(crate) fn id(&self) -> Option<i64> {
        self.0.current()?.id
    }

    /// What could be lost on the server, as the last connection has found it.
    pub(crate) fn risks(&self) -> Vec<String> {
        self.0.risks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a script. One attempt: what can be repeated is known to the caller.
    pub(crate) async fn run(&self, call: &Call) -> Result<Value, Failed> {
        let Step { operation, unknown, .. } = *call.step;
        let mut loads = 0;
        loop {
            let answer = self.ask(operation, &call.command, self.0.operation_timeout, unknown).await;
            match answer {
                Err(failed) if failed.reaction == Reaction::Load && loads < LOADS => {
                    loads += 1;
                    self.load(call.step).await?;
                }
                answer => return answer,
            }
        }
    }

    async fn load(&self, step: &Step) -> Result<(), Failed> {
        let mut live = self.0.live().await?;
        let loading = async { step.script().load_async(&mut live.connection).await };
        self.0.within(step.operation, self.0.operation_timeout, false, live.generation, loading).await.map(|_| ())
    }

    /// Sends a command that is answered at once.
    pub(crate) async fn send(&self, operation: &'static str, command: &Cmd) -> Result<Value, Failed> {
        self.ask(operation, command, self.0.operation_timeout, false).await
    }

    /// Sends a command that the server may answer after `block` only.
    pub(crate) async fn block(&self, operation: &'static str, command: &Cmd, block: Duration) -> Result<Value, Failed> {
        self.ask(operation, command, block + self.0.operation_timeout.min(Duration::from_secs(1)), false).await
    }

    async fn ask(
        &self,
        operation: &'static str,
        command: &Cmd,
        limit: Duration,
        unknown: bool,
    ) -> Result<Value, Failed> {
        let mut live = self.0.live().await?;
        let answer = command.query_async::<Value>(&mut live.connection);
        self.0.within(operation, limit, unknown, live.generation, answer).await
    }
}

impl Inner {
    fn current(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for an answer; gives up the connection if it turns out to be of no use.
    async fn within<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        unknown: bool,
        generation: u64,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Failed> {
        let answer = timeout(limit, answer).await.unwrap_or_else(|_| Err(too_slow()));
        answer.map_err(|cause| {
            let failed = failed(operation, cause, true, unknown, &self.address);
            if failed.reaction == Reaction::Reconnect {
                self.give_up(generation, &failed.error);
            }
            failed
        })
    }

    fn give_up(&self, generation: u64, why: &dyn std::fmt::Display) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.generation == generation) {
            *live = None;
            tracing::debug!(target: "windlass::broker::redis", redis = self.address, "connection given up: {why}");
        }
    }

    /// The open connection, or a new one. Callers that come while one is being opened get the
    /// outcome of that attempt, not an attempt each.
    async fn live(self: &Arc<Self>) -> Result<Live, Failed> {
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
            return Err(Failed::unsent(error.duplicate()));
        }
        sleep_until(pace.next).await;
        let opened = timeout(self.connect_timeout, self.connect()).await;
        match opened.unwrap_or_else(|_| Err(self.unreachable(too_slow()))) {
            Ok(live) => {
                self.connected(&mut pace);
                *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(error) => Err(Failed::unsent(self.not_connected(&mut pace, error))),
        }
    }

    fn unreachable(&self, cause: RedisError) -> Error {
        not_connected(cause, self.client.get_connection_info().redis_settings(), &self.address)
    }

    fn connected(&self, pace: &mut Pace) {
        if pace.failed > 0 {
            tracing::info!(target: "windlass::broker::redis", redis = self.address, "connected again");
        }
        pace.failed = 0;
        pace.last = None;
    }

    fn not_connected(&self, pace: &mut Pace, error: Error) -> Error {
        if pace.failed == 0 {
            tracing::warn!(target: "windlass::broker::redis", redis = self.address, "{error}; trying again");
        }
        pace.next = Instant::now() + pause(pace.failed);
        pace.failed = pace.failed.saturating_add(1);
        pace.last = Some(error.duplicate());
        self.failures.fetch_add(1, Ordering::Release);
        error
    }

    async fn connect(self: &Arc<Self>) -> Result<Live> {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(1024)
            .set_write_backpressure_boundary(128 * 1024)
            .set_push_sender(watcher(Arc::downgrade(self), generation));
        let opened = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = opened.map_err(|cause| self.unreachable(cause))?;
        let mut ask = redis::cmd("CLIENT");
        let id = ask.arg("ID").query_async::<i64>(&mut connection).await.ok();
        if self.curious {
            let server = Server::read(&mut connection).await.map_err(|cause| self.unreachable(cause))?;
            server.check(&self.address)?;
            self.warned.call_once(|| server.warn(&self.address));
            *self.risks.lock().unwrap_or_else(PoisonError::into_inner) = server.risks();
        }
        Ok(Live { generation, connection, id })
    }
}

/// Gives up the connection as soon as the driver says that the server has closed it.
fn watcher(inner: Weak<Inner>, generation: u64) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    move |push| {
        if push.kind == PushKind::Disconnection
            && let Some(inner) = inner.upgrade()
        {
            inner.give_up(generation, &"the server closed it");
        }
        Ok(())
    }
}

fn tcp_settings() -> TcpSettings {
    let probe = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(3));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(probe);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    settings
}

fn too_slow() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// A random pause that grows with the number of failures before it.
pub(crate) fn pause(failed: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failed.min(8)).min(LONGEST_PAUSE);
    most.mul_f64(fastrand::f64())
}
