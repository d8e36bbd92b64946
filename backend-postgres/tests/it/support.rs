//! What the tests share.

use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;
use windlass_backend_postgres::{PostgresBackend, PostgresBackendConfig};
use windlass_core::{Backend, Record, Result, Retention, State, TaskId, Timestamp, Token};
use windlass_testing::servers::PostgresServer;

/// Longest wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A poll so rare that only a push can be what woke.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);
pub(crate) const HOUR: Retention = Retention::For(Duration::from_secs(3600));

/// Where a test works: a server of its own, or a database on the one that the tests share.
pub(crate) trait Server {
    fn url(&self) -> String;
    fn sql(&self, script: &str) -> String;
}

impl Server for PostgresServer {
    fn url(&self) -> String {
        self.url()
    }

    fn sql(&self, script: &str) -> String {
        self.sql(script)
    }
}

/// One server for all tests that leave it as it is.
static SHARED: LazyLock<PostgresServer> =
    LazyLock::new(|| PostgresServer::builder().arg("log_line_prefix=%d ").arg("max_connections=200").start());

/// A database of its own on the server that the tests share.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        SHARED.sql(&format!("CREATE DATABASE {name}"));
        Self { name }
    }

    pub(crate) fn port(&self) -> u16 {
        SHARED.port()
    }

    pub(crate) fn url(&self) -> String {
        self.at(("127.0.0.1", self.port()))
    }

    /// Sets what holds for later connections to this database.
    pub(crate) fn set(&self, setting: &str) {
        SHARED.sql(&format!("ALTER DATABASE {} SET {setting}", self.name));
    }

    /// How often two of its connections have locked each other out.
    pub(crate) fn deadlocks(&self) -> usize {
        SHARED.log().matches(&format!("{} ERROR:  deadlock detected", self.name)).count()
    }

    /// The URL of this database over another way to the server.
    pub(crate) fn at(&self, (host, port): (impl Display, u16)) -> String {
        format!("postgres://postgres@{host}:{port}/{}", self.name)
    }

    pub(crate) fn sql(&self, script: &str) -> String {
        SHARED.sql(&format!("\\c {}\n{script}", self.name))
    }
}

impl Server for Database {
    fn url(&self) -> String {
        self.url()
    }

    fn sql(&self, script: &str) -> String {
        self.sql(script)
    }
}

/// Settings for a server, with a poll of 50 ms.
pub(crate) fn config(server: &impl Server) -> PostgresBackendConfig {
    PostgresBackendConfig::new(server.url()).poll(Duration::from_millis(50))
}

/// The same settings for another place.
pub(crate) fn at(url: String, mut config: PostgresBackendConfig) -> PostgresBackendConfig {
    config.url = url;
    config
}

pub(crate) async fn connect(config: PostgresBackendConfig) -> Arc<PostgresBackend> {
    Arc::new(PostgresBackend::connect(config).await.expect("the server runs"))
}

/// A backend over a pool of the application.
pub(crate) async fn over(pool: PgPool, config: PostgresBackendConfig) -> Arc<PostgresBackend> {
    let backend = PostgresBackend::from_pool(pool, config).expect("inside a runtime");
    backend.ready().await.expect("the server runs");
    Arc::new(backend)
}

/// A pool such as an application has.
pub(crate) async fn pool(server: &impl Server, connections: u32) -> PgPool {
    let options = PgPoolOptions::new().max_connections(connections);
    options.connect(&server.url()).await.expect("the server runs")
}

pub(crate) fn id(name: impl std::fmt::Display) -> TaskId {
    TaskId::new(name.to_string()).expect("a valid id")
}

/// A record that is kept for an hour, with its result.
pub(crate) fn record(name: impl std::fmt::Display, state: State, token: u64) -> Record {
    Record {
        id: id(name),
        token: Token(token),
        state,
        attempt: 1,
        at: Timestamp::from_micros(1_763_710_000_000_000),
        result: (state == State::Succeeded).then(|| Bytes::from_static(b"5")),
        failure: None,
        status_ttl: HOUR,
        result_ttl: HOUR,
    }
}

pub(crate) fn succeeded(name: impl std::fmt::Display) -> Record {
    record(name, State::Succeeded, 1)
}

/// The one record of that name, as it is stored.
pub(crate) async fn load(backend: &PostgresBackend, name: impl std::fmt::Display) -> Option<Record> {
    backend.load(&[id(name)]).await.expect("the server runs").remove(0)
}

/// Begins a wait on a task of its own.
pub(crate) fn start_wait(
    backend: &Arc<PostgresBackend>,
    name: impl std::fmt::Display,
) -> JoinHandle<Result<Option<Record>>> {
    let (backend, id) = (Arc::clone(backend), id(name));
    tokio::spawn(async move { backend.wait(&id, PATIENCE).await })
}

/// The record that a wait was told.
pub(crate) async fn told(wait: JoinHandle<Result<Option<Record>>>) -> Record {
    wait.await.expect("no panic").expect("no error").expect("told in time")
}

/// Waits until that many connections listen, and that many processes are noted to do so.
pub(crate) async fn listening(server: &impl Server, count: usize) {
    let noted = "SELECT count(*) FROM windlass.listener WHERE until > now()";
    until(|| (server.sql(noted), server.sql(LISTENERS)) == (count.to_string(), count.to_string())).await;
}

/// Counts the connections that listen.
pub(crate) const LISTENERS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()";

/// Waits until `condition` holds, at most [`PATIENCE`].
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    until_async(|| std::future::ready(condition())).await;
}

/// As [`until`], for a condition that has to be asked for.
pub(crate) async fn until_async<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "the condition does not hold after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
