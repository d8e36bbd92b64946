//! What a Postgres server says about itself.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::Server;
use crate::Result;
use crate::target::schema;

/// What decides whether an answered write can be lost with the machine.
const SETTINGS: &str = "SELECT current_setting('server_version'), current_setting('fsync'), \
    current_setting('synchronous_commit')";

/// Asks for its version and whether it waits for the disk.
pub(super) async fn ask(url: &str) -> Result<Server> {
    let mut connection = PgConnection::connect(url).await?;
    let row = sqlx::query(SETTINGS).fetch_one(&mut connection).await?;
    let text = |column: usize| row.try_get::<String, _>(column);
    let (version, fsync, commit) = (text(0)?, text(1)?, text(2)?);
    connection.close().await?;
    let version = version.split(' ').next().unwrap_or_default().to_owned();
    Ok(Server { name: "Postgres", version, mode: format!("fsync {fsync}, synchronous_commit {commit}") })
}

/// Drops the schema of this run, with the tables of windlass and of the floor.
pub(super) async fn remove(url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    // Names what was dropped otherwise.
    connection.execute("SET client_min_messages = warning").await?;
    let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", schema());
    connection.execute(AssertSqlSafe(drop)).await?;
    Ok(connection.close().await?)
}
