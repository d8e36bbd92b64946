//! The backend: the contract of the core on top of store, waiters and connections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{Backend, BackendCapabilities, Error, ErrorKind, Notebook, Record, Result, SaveOutcome, TaskId};

use crate::config::RedisBackendConfig;
use crate::connection::Link;
use crate::ears::Ears;
use crate::keys::Keys;
use crate::scripts::Scripts;
use crate::signals::Topics;
use crate::store::Store;
use crate::thread::Thread;
use crate::wait::WaitHub;

/// Results and notes in Redis. Cheap to share behind an [`Arc`]; closed when dropped.
pub struct RedisBackend {
    thread: Thread,
    store: Arc<Store>,
    hub: WaitHub,
    topics: Arc<Topics>,
}

impl RedisBackend {
    /// Connects and checks that the server is one that this backend can use.
    ///
    /// # Errors
    /// `Config` for wrong settings or an unsuitable server, `Denied` for wrong credentials,
    /// `Unavailable` if the server cannot be reached. The text names host and port.
    pub async fn connect(config: RedisBackendConfig) -> Result<Self> {
        let backend = Self::open(config)?;
        backend.store.link.open().await?;
        backend.check_version().await?;
        Ok(backend)
    }

    /// A backend that connects when it is used first, and that outlives a server that is away.
    ///
    /// # Errors
    /// `Config` for wrong settings.
    pub fn open(config: RedisBackendConfig) -> Result<Self> {
        let info = config.check()?;
        let thread = Thread::start()?;
        let link = Link::new(thread.spawner(), &config, info)?;
        let store = Arc::new(Store { link, keys: Keys::new(&config.prefix), scripts: Scripts::new() });
        let ears = Arc::new(Ears::new(thread.spawner(), store.link.clone(), config.poll));
        let hub = WaitHub::new(thread.spawner(), Arc::clone(&store), Arc::clone(&ears), config.poll);
        let topics = Arc::new(Topics::new(thread.spawner(), Arc::clone(&store), ears));
        Ok(Self { thread, store, hub, topics })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    async fn check_version(&self) -> Result<()> {
        let ask = |mut connection| async move { redis::cmd("INFO").arg("server").query_async(&mut connection).await };
        let info: String = match self.store.link.ask("connect", false, ask).await {
            Ok(info) => info,
            // Many servers keep INFO from applications; what is missing shows at the first call.
            Err(error) if error.kind() == ErrorKind::Denied => return Ok(()),
            Err(error) => return Err(error),
        };
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
        if is_supported(version) {
            return Ok(());
        }
        let text = format!("Redis {version} is too old: 6.2 or newer is needed");
        Err(Error::new(ErrorKind::Config, "connect", text))
    }
}

fn is_supported(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 2)
}

#[async_trait]
impl Backend for RedisBackend {
    fn capabilities(&self) -> BackendCapabilities {
        BackendCapabilities::all("redis")
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
        self.topics.close();
        self.thread.stop();
    }
}

impl std::fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBackend")
            .field("link", &self.store.link)
            .field("hub", &self.hub)
            .field("topics", &self.topics)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::is_supported;

    #[test]
    fn versions() {
        assert!(["6.2.0", "6.2.14", "7.0.15", "8", "10.1.2", "255.255.255"].into_iter().all(is_supported));
        assert!(["6.0.20", "5.0.7", "2.8", "unknown", ""].into_iter().all(|version| !is_supported(version)));
    }
}
