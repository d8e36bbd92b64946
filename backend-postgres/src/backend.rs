//! The backend: the contract of the core on top of store, waiters and connections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use windlass_core::{Backend, BackendCapabilities, Error, ErrorKind, Notebook, Record, Result, SaveOutcome, TaskId};

use crate::board::Board;
use crate::config::PostgresBackendConfig;
use crate::connection::{Link, closed};
use crate::migrate::{check, migrate_over};
use crate::notebook::{self, Ears};
use crate::opener::Opener;
use crate::retention;
use crate::statements::Statements;
use crate::store::Store;
use crate::thread::Thread;
use crate::wait::WaitHub;

/// The oldest server that this backend can use, as the server numbers itself.
const OLDEST: u32 = 130_000;

/// Results in Postgres. Cheap to share behind an [`Arc`]; closed when dropped.
pub struct PostgresBackend {
    thread: Thread,
    pub(crate) store: Arc<Store>,
    pub(crate) ears: Arc<Ears>,
    pub(crate) hub: WaitHub,
}

impl PostgresBackend {
    /// Connects, and makes the tables or checks their version.
    ///
    /// # Errors
    /// `Config` for wrong settings, an unsuitable server or tables of another version, `Denied` for
    /// wrong credentials or a missing permission, `Unavailable` if the server cannot be reached. The
    /// text names host and port.
    pub async fn connect(config: PostgresBackendConfig) -> Result<Self> {
        let backend = Self::open(config)?;
        backend.ready().await?;
        Ok(backend)
    }

    /// A backend that connects when it is used first, and that outlives a server that is away. The
    /// tables must be there; [`PostgresBackend::ready`] sees to that.
    ///
    /// # Errors
    /// `Config` for wrong settings.
    pub fn open(config: PostgresBackendConfig) -> Result<Self> {
        config.check()?;
        let thread = Thread::start()?;
        let link = Link::new(thread.spawner(), config)?;
        Ok(Self::over(thread, link))
    }

    /// A backend that reads over the application's own pool. It writes over at most two connections
    /// of its own to the same place, and listens over one, so that results are not kept waiting by
    /// the application's queries. What the pool does to new connections is not done to these three.
    ///
    /// Nothing is sent yet; see [`PostgresBackend::ready`]. Of the settings, `url` and
    /// `max_connections` have no effect. Must be called inside the runtime that the pool belongs to.
    ///
    /// # Errors
    /// `Config` for wrong settings.
    pub fn from_pool(pool: PgPool, config: PostgresBackendConfig) -> Result<Self> {
        config.check()?;
        let thread = Thread::lent()?;
        let link = Link::beside(thread.spawner(), pool, config);
        Ok(Self::over(thread, link))
    }

    /// Connects, checks the server, and makes the tables or, without
    /// [`PostgresBackendConfig::migrate`], checks their version. Harmless if others do the same just
    /// now.
    ///
    /// # Errors
    /// As [`PostgresBackend::connect`].
    pub async fn ready(&self) -> Result<()> {
        let link = &self.store.link;
        let answer = link.spawner.finish(prepare(link.opener().clone())).await;
        answer.unwrap_or_else(|| Err(closed("connect"))).map_err(|error| link.at(error))
    }

    fn over(thread: Thread, link: Link) -> Self {
        let schema = link.config().schema.clone();
        let [results, signals] = [format!("{schema}_result"), format!("{schema}_signal")];
        let statements = Statements::new(&schema, &results);
        let store = Arc::new(Store { link, statements, notebook: notebook::Statements::new(&schema, &signals) });
        let ears = Arc::new(Ears::new());
        let hub = WaitHub::new(thread.spawner(), Board::new(Arc::clone(&store)), Arc::clone(&ears), [results, signals]);
        thread.spawner().detach(retention::serve(Arc::clone(&store)));
        Self { thread, store, ears, hub }
    }
}

async fn prepare(opener: Opener) -> Result<()> {
    let mut connection = opener.open("connect").await?;
    let version = connection.server_version_num().unwrap_or(OLDEST);
    if version < OLDEST {
        let text = format!("Postgres {} is too old: 13 or newer is needed", version / 10_000);
        return Err(Error::new(ErrorKind::Config, "connect", text));
    }
    match opener.config.migrate {
        true => migrate_over(connection, &opener.config.schema).await,
        false => check(&mut connection, &opener.config.schema).await,
    }
}

#[async_trait]
impl Backend for PostgresBackend {
    fn capabilities(&self) -> BackendCapabilities {
        let mut capabilities = BackendCapabilities::all("postgres");
        capabilities.push = !self.store.link.config().pooler;
        capabilities
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.store.save(records).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.store.load(ids).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.hub.wait(id, timeout).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.store.forget(ids).await
    }

    fn notebook(&self) -> Option<&dyn Notebook> {
        Some(self)
    }

    async fn close(&self) {
        self.store.link.close();
        self.hub.close();
        self.thread.stop();
    }
}

impl Drop for PostgresBackend {
    fn drop(&mut self) {
        // Before the clock that they go by.
        self.ears.close();
    }
}

impl std::fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresBackend").field("link", &self.store.link).field("hub", &self.hub).finish()
    }
}
