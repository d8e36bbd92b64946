//! Transactional enqueue: an outbox on a private Postgres, relays to brokers in memory.

mod chaos;
mod faults;
mod picky;
mod relay;
mod stuck;
mod write;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use windlass_backend_postgres::{Outbox, OutboxConfig, RelayReport};
use windlass_core::{Broker, Message, QueueName};
use windlass_testing::MemoryBroker;
use windlass_testing::conformance::eventually;
use windlass_testing::servers::PostgresServer;

/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long that a test that ends in time was woken.
const RARELY: Duration = Duration::from_secs(60);

/// One server for all tests that do it no harm; each has a schema of its own.
static SERVER: LazyLock<PostgresServer> = LazyLock::new(PostgresServer::start);

/// An outbox with a schema of its own.
struct Scene {
    pool: PgPool,
    outbox: Outbox,
    broker: MemoryBroker,
    queue: QueueName,
}

fn config() -> OutboxConfig {
    OutboxConfig::default().schema(format!("test_{:016x}", fastrand::u64(..))).lease(Duration::from_secs(1))
}

async fn pool(server: &PostgresServer) -> PgPool {
    PgPoolOptions::new().max_connections(8).connect(&server.url()).await.expect("the server is there")
}

impl Scene {
    async fn new() -> Self {
        Self::with(&SERVER, config()).await
    }

    async fn with(server: &PostgresServer, config: OutboxConfig) -> Self {
        let pool = pool(server).await;
        let outbox = Outbox::from_pool(pool.clone(), config).expect("the settings are right");
        outbox.ready().await.expect("the server is there");
        Self { pool, outbox, broker: MemoryBroker::new(), queue: windlass_testing::fixture::queue() }
    }

    fn messages(&self, count: usize) -> Vec<Message> {
        windlass_testing::fixture::messages(&self.queue, count)
    }

    /// Writes in a transaction of its own.
    async fn commit(&self, messages: &[Message]) {
        let mut transaction = self.pool.begin().await.expect("the server is there");
        self.outbox.write(&mut *transaction, messages).await.expect("the server is there");
        transaction.commit().await.expect("the server is there");
    }

    /// Runs a relay to the memory broker.
    fn relay(&self) -> Running {
        self.relay_to(Arc::new(self.broker.clone()))
    }

    fn relay_to(&self, broker: Arc<dyn Broker>) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let relay = self.outbox.relay(broker);
        let task = tokio::spawn(relay.run(async move {
            let _ = stopped.await;
        }));
        Running { stop, task }
    }

    /// Waits until the broker holds that many messages, and gives them in the order of their arrival.
    async fn arrived(&self, count: usize) -> Vec<Message> {
        let there = || async {
            let counts = self.broker.counts();
            (counts.queued + counts.scheduled >= count).then_some(())
        };
        eventually("the messages arrive", PATIENCE, there).await;
        let found = self.broker.waiting();
        assert_eq!(found.len(), count, "more than expected");
        found.into_iter().map(|(message, _)| message).collect()
    }

    /// Waits until nothing waits in the outbox.
    async fn emptied(&self) {
        let empty = || async { self.outbox.stats().await.ok().filter(|stats| stats.pending == 0) };
        eventually("the outbox is empty", PATIENCE, empty).await;
    }

    /// Runs SQL with the schema in place of `$schema`.
    async fn sql(&self, text: &str) {
        let text = text.replace("$schema", &self.outbox.config().schema);
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&self.pool).await.expect("it can be carried out");
    }
}

/// A relay in a task of its own.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<RelayReport>,
}

impl Running {
    /// Asks it to stop and waits for it.
    async fn stop(self) -> RelayReport {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").expect("it does not panic")
    }

    /// Drops it wherever it is.
    fn kill(self) {
        self.task.abort();
    }
}

fn payloads(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}
