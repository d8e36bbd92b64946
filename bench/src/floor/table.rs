//! Results on Postgres: a row a task.

use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::time::timeout;

use super::{ANSWER_WITHIN, RESULT, TTL};
use crate::Result;
use crate::target::schema;

/// The table of one run.
pub(super) struct Table {
    url: String,
    connection: PgConnection,
    name: String,
    save: String,
}

impl Table {
    /// Connects and makes the table.
    pub(super) async fn new(url: &str) -> Result<Self> {
        let mut table = Self::open(url).await?;
        let name = &table.name;
        let create = format!(
            "CREATE SCHEMA IF NOT EXISTS {}; \
             CREATE TABLE {name} (id bytea PRIMARY KEY, result bytea NOT NULL, expires_at timestamptz NOT NULL)",
            schema()
        );
        table.connection.execute(AssertSqlSafe(create)).await?;
        Ok(table)
    }

    async fn open(url: &str) -> Result<Self> {
        let connection = PgConnection::connect(url).await?;
        let name = format!("{}.floor", schema());
        let save = upsert(&name, TTL);
        Ok(Self { url: url.to_owned(), connection, name, save })
    }

    /// The same table over another connection.
    pub(super) async fn again(&self) -> Result<Self> {
        Self::open(&self.url).await
    }

    pub(super) async fn clear(&mut self) -> Result<()> {
        let empty = format!("TRUNCATE {}", self.name);
        self.connection.execute(AssertSqlSafe(empty)).await?;
        Ok(())
    }

    pub(super) async fn remove(mut self) -> Result<()> {
        let remove = format!("DROP TABLE {}", self.name);
        self.connection.execute(AssertSqlSafe(remove)).await?;
        Ok(self.connection.close().await?)
    }

    /// Stores the results of these tasks in one statement.
    pub(super) async fn save(&mut self, ids: &[Vec<u8>]) -> Result<()> {
        let results = vec![RESULT; ids.len()];
        let save = sqlx::query(AssertSqlSafe(self.save.clone())).bind(ids).bind(results);
        save.execute(&mut self.connection).await?;
        Ok(())
    }

    /// Stores a result and tells who waits, in one statement.
    pub(super) async fn answer(&mut self, ids: &[Vec<u8>]) -> Result<()> {
        let answer = format!(
            "WITH saved AS ({} RETURNING result) SELECT pg_notify('{}', convert_from(result, 'UTF8')) FROM saved",
            self.save,
            schema()
        );
        let results = vec![RESULT; ids.len()];
        sqlx::query(AssertSqlSafe(answer)).bind(ids).bind(results).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Who is told.
    pub(super) async fn listener(&self) -> Result<Listener> {
        let mut listener = PgListener::connect(&self.url).await?;
        listener.listen(&schema()).await?;
        Ok(Listener(listener))
    }
}

/// Waits for answers.
pub(super) struct Listener(PgListener);

impl Listener {
    pub(super) async fn wait(&mut self) -> Result<()> {
        match timeout(ANSWER_WITHIN, self.0.recv()).await {
            Ok(told) => told.map(drop).map_err(Into::into),
            Err(_) => Err(format!("the floor did not answer a task within {ANSWER_WITHIN:?}").into()),
        }
    }
}

/// As a task may run twice, its result may be there already.
fn upsert(table: &str, ttl: Duration) -> String {
    format!(
        "INSERT INTO {table} (id, result, expires_at) \
         SELECT id, result, now() + interval '{} seconds' FROM unnest($1, $2) AS row (id, result) \
         ON CONFLICT (id) DO UPDATE SET result = excluded.result, expires_at = excluded.expires_at",
        ttl.as_secs()
    )
}
