//! The only file that opens and repairs connections.
//!
//! The driver's own reconnecting is not used: it keeps a connection after a timeout and after a
//! failover, and hands the first error of a dead link to whoever asks next.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult,
};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use windlass_core::{Error, ErrorKind, Result};

use crate::config::RedisBackendConfig;
use crate::error::{Reaction, failed, is_away, not_connected, reaction};
use crate::thread::Spawner;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One supervised connection for commands, shared by all callers: opened when it is first needed,
/// given up at the first sign that it is broken, and then opened again by a task of its own.
#[derive(Clone)]
pub(crate) struct Link {
    spawner: Spawner,
    opener: Arc<Opener>,
    operation_timeout: Duration,
    state: watch::Receiver<State>,
    needed: Arc<Notify>,
    closed: Arc<AtomicBool>,
}

#[derive(Clone)]
enum State {
    /// Not needed yet, or the first attempt goes on.
    Fresh,
    Up(Live),
    Down {
        since: Instant,
        error: Arc<Error>,
    },
}

/// A connection that is open as far as we know.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    /// Told when it turns out to be of no use.
    broken: Arc<Notify>,
}

impl Link {
    /// Prepares a connection to the place of `info`, without contacting it.
    pub(crate) fn new(spawner: Spawner, config: &RedisBackendConfig, info: ConnectionInfo) -> Result<Self> {
        let opener = Arc::new(Opener::new(info, config.connect_timeout)?);
        let needed = Arc::new(Notify::new());
        let (sender, state) = watch::channel(State::Fresh);
        spawner.detach(supervise(Arc::clone(&opener), Arc::clone(&needed), sender));
        let closed = Arc::new(AtomicBool::new(false));
        Ok(Self { spawner, opener, operation_timeout: config.operation_timeout, state, needed, closed })
    }

    /// Opens further connections to the same server.
    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// Where the server is, for texts.
    pub(crate) fn address(&self) -> &str {
        &self.opener.address
    }

    /// How long a request may take.
    pub(crate) fn operation_timeout(&self) -> Duration {
        self.operation_timeout
    }

    /// Sends a request. One attempt: what can be repeated is known to the caller. `unknown`: the
    /// caller must know when it cannot be told whether the request was applied.
    pub(crate) async fn ask<T, Answer>(
        &self,
        operation: &'static str,
        unknown: bool,
        send: impl FnOnce(MultiplexedConnection) -> Answer,
    ) -> Result<T>
    where
        Answer: Future<Output = RedisResult<T>>,
    {
        let start = Instant::now();
        let live = self.spawner.within(self.patience(), self.live(operation)).await;
        let Live { connection, broken } = live.unwrap_or_else(|| Err(self.unreachable(operation)))?;
        let left = self.operation_timeout.saturating_sub(start.elapsed());
        let answer = self.spawner.within(left, send(connection)).await;
        answer.unwrap_or_else(|| Err(too_slow(self.operation_timeout))).map_err(|cause| {
            if reaction(&cause) == Reaction::Reconnect {
                broken.notify_one();
            }
            failed(operation, cause, unknown, &self.opener.address)
        })
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// The outcome of the first attempt to connect.
    pub(crate) async fn open(&self) -> Result<()> {
        let mut state = self.state.clone();
        self.needed.notify_one();
        let tried = state.wait_for(|state| !matches!(state, State::Fresh)).await;
        match &*tried.map_err(|_| closed("connect"))? {
            State::Down { error, .. } => Err(error.duplicate()),
            State::Up(_) | State::Fresh => Ok(()),
        }
    }

    /// The open connection; waits for it unless the server has been away for long or refuses us.
    async fn live(&self, operation: &'static str) -> Result<Live> {
        let mut state = self.state.clone();
        self.needed.notify_one();
        loop {
            if self.closed.load(Ordering::SeqCst) {
                return Err(closed(operation));
            }
            match &*state.borrow_and_update() {
                State::Up(live) => return Ok(live.clone()),
                State::Down { since, error } if !error.is_retryable() || since.elapsed() >= self.patience() => {
                    return Err(error.duplicate());
                }
                State::Fresh | State::Down { .. } => {}
            }
            state.changed().await.map_err(|_| closed(operation))?;
        }
    }

    /// How long to wait for a connection: half of the time, because what follows needs some too.
    fn patience(&self) -> Duration {
        self.operation_timeout / 2
    }

    fn unreachable(&self, operation: &'static str) -> Error {
        match &*self.state.borrow() {
            State::Down { error, .. } => error.duplicate(),
            State::Up(_) | State::Fresh => {
                Error::new(ErrorKind::Unavailable, operation, "no connection yet").with("redis", &self.opener.address)
            }
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state.borrow() {
            State::Fresh => "not connected yet".to_owned(),
            State::Up(_) => "connected".to_owned(),
            State::Down { error, .. } => error.to_string(),
        };
        f.debug_struct("Link").field("address", &self.opener.address).field("state", &state).finish()
    }
}

/// Connects, waits until the connection is of no use any more, and begins again.
async fn supervise(opener: Arc<Opener>, needed: Arc<Notify>, state: watch::Sender<State>) {
    needed.notified().await;
    let mut attempts = 0;
    loop {
        let broken = Arc::new(Notify::new());
        match opener.commands(Arc::clone(&broken)).await {
            Ok(connection) => {
                attempts = 0;
                state.send_replace(State::Up(Live { connection, broken: Arc::clone(&broken) }));
                broken.notified().await;
                let lost = Error::new(ErrorKind::Unavailable, "connect", "the connection was lost");
                down(&state, lost.with("redis", &opener.address));
            }
            Err(error) => down(&state, error),
        }
        sleep(pause(attempts)).await;
        attempts += 1;
    }
}

fn down(state: &watch::Sender<State>, error: Error) {
    let before = match &*state.borrow() {
        State::Down { since, .. } => Some(*since),
        State::Fresh | State::Up(_) => None,
    };
    if before.is_none() {
        tracing::warn!(target: "windlass::backend::redis", "{error}; trying again");
    }
    state.send_replace(State::Down { since: before.unwrap_or_else(Instant::now), error: Arc::new(error) });
}

/// Opens connections to one server. Its methods must run on the thread of [`crate::thread::Thread`].
pub(crate) struct Opener {
    client: Client,
    /// Host and port, or the path.
    address: String,
    connect_timeout: Duration,
}

impl Opener {
    fn new(info: ConnectionInfo, connect_timeout: Duration) -> Result<Self> {
        let address = info.addr().to_string();
        // The third version of the protocol tells at once when the server closes the connection.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let settings = settings.set_lib_name("windlass", env!("CARGO_PKG_VERSION"));
        let client = Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
            .map_err(|error| Error::new(ErrorKind::Config, "connect", error.to_string()).with("redis", &address))?;
        Ok(Self { client, address, connect_timeout })
    }

    /// A connection to a server that is ready. `broken` is told when the server closes it.
    async fn commands(&self, broken: Arc<Notify>) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(1024)
            .set_write_backpressure_boundary(128 * 1024)
            .set_push_sender(watcher(broken));
        let opening = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            // A server that still loads its data takes connections, but no commands.
            match redis::cmd("PING").query_async::<()>(&mut connection).await {
                Err(error) if is_away(&error) => Err(error),
                Ok(()) | Err(_) => Ok(connection),
            }
        };
        self.connect(opening).await
    }

    /// A connection that can hear what is published.
    pub(crate) async fn pubsub(&self) -> Result<PubSub> {
        self.connect(self.client.get_async_pubsub()).await
    }

    async fn connect<T>(&self, opening: impl Future<Output = RedisResult<T>>) -> Result<T> {
        let opened = timeout(self.connect_timeout, opening).await;
        let settings = self.client.get_connection_info().redis_settings();
        opened
            .unwrap_or_else(|_| Err(too_slow(self.connect_timeout)))
            .map_err(|cause| not_connected(&cause, settings, &self.address))
    }
}

/// Gives up the connection as soon as the driver says that the server has closed it.
fn watcher(broken: Arc<Notify>) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    move |push| {
        if push.kind == PushKind::Disconnection {
            broken.notify_one();
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

fn too_slow(limit: Duration) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into()
}

/// A random pause that grows with the number of attempts before it.
pub(crate) fn pause(attempts: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << attempts.min(8)).min(LONGEST_PAUSE);
    most.mul_f64(fastrand::f64())
}

/// The answer to everything after the end.
pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the Redis backend was closed")
}
