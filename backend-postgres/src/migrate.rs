//! The tables: SQL files that are embedded, run in order, and can be printed.
//!
//! The driver's own runner is not used, for three reasons. The name of the schema is a setting, and
//! its files are fixed texts. It holds a lock of the session, which a transaction-pooling proxy
//! tears apart, and which stays on a pooled connection after an error. And what it does cannot be
//! printed: here, the script that is printed is the script that runs, in one transaction, and it
//! can be run any number of times by any number of processes at once.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use windlass_core::{Error, ErrorKind, Result};

use crate::config::quoted_schema;
use crate::error::failed;

/// One step of the tables. Versions count from 1 without gaps; a step never changes once released.
struct Migration {
    name: &'static str,
    /// `{schema}` stands for the quoted schema. Must not contain `$windlass$`.
    sql: &'static str,
}

/// All steps in their order: the first is version 1.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "results", sql: include_str!("../migrations/0001_results.sql") },
    Migration { name: "outbox", sql: include_str!("../migrations/0002_outbox.sql") },
    Migration { name: "notebook", sql: include_str!("../migrations/0003_notebook.sql") },
    Migration { name: "outbox_limit", sql: include_str!("../migrations/0004_outbox_limit.sql") },
];

/// The version of the tables that this crate works with.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// The whole script that brings the tables of a schema up to date, for those who run their
/// migrations themselves. It is harmless to run it again.
///
/// ```
/// let sql = windlass_backend_postgres::migrations_sql("windlass")?;
/// assert!(sql.starts_with("BEGIN") && sql.contains("CREATE TABLE \"windlass\".result"));
/// # Ok::<(), windlass_core::Error>(())
/// ```
///
/// # Errors
/// `Config` if the schema cannot have that name.
pub fn migrations_sql(schema: &str) -> Result<String> {
    let quoted = quoted_schema("schema", schema)?;
    // Of two that run at once, the second must see what the first did: hence the lock, and READ
    // COMMITTED whatever the default is. Schema and table are asked for first, because creating
    // them needs permissions even if they exist.
    let mut script = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;
DO $windlass$ BEGIN PERFORM pg_advisory_xact_lock(8602178349027521); END $windlass$;
DO $windlass$ BEGIN
IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {quoted}; END IF;
IF to_regclass('{quoted}.migration') IS NULL THEN
CREATE TABLE {quoted}.migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
END IF;
END $windlass$;
"
    );
    for (version, Migration { name, sql }) in (1..).zip(MIGRATIONS) {
        let sql = sql.replace("{schema}", &quoted);
        script.push_str(&format!(
            "
DO $windlass$ BEGIN
IF NOT EXISTS (SELECT FROM {quoted}.migration WHERE version = {version}) THEN
{sql}
INSERT INTO {quoted}.migration (version, name) VALUES ({version}, '{name}');
END IF;
END $windlass$;
"
        ));
    }
    script.push_str("\nCOMMIT;\n");
    Ok(script)
}

/// Brings the tables up to date, over a connection that is used up by it: a script that was broken
/// off leaves a transaction open.
pub(crate) async fn migrate_over(mut connection: PgConnection, schema: &str) -> Result<()> {
    if version(&mut connection, "migrate", schema).await? < VERSION {
        // The limits of our sessions are for statements that are short.
        let script = format!("SET statement_timeout = 0; SET lock_timeout = 0; {}", migrations_sql(schema)?);
        let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await;
        done.map_err(|error| failed("migrate", error).with("schema", schema))?;
    }
    check(&mut connection, schema).await?;
    // What matters is done; an error means that the server has closed it first.
    let _ = connection.close().await;
    Ok(())
}

/// Refuses tables of another version than ours.
pub(crate) async fn check(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let found = version(connection, "connect", schema).await?;
    let text = match found {
        VERSION => return Ok(()),
        0 => format!("the schema \"{schema}\" holds no tables of windlass; version {VERSION} is needed"),
        _ => format!("the tables in the schema \"{schema}\" have version {found}; this program needs {VERSION}"),
    };
    let cure = if found > VERSION {
        "update the program"
    } else {
        "connect once with backend.migrate = true, or run the SQL that migrations_sql prints"
    };
    Err(Error::new(ErrorKind::Config, "connect", format!("{text}: {cure}")))
}

/// The version of the tables; 0 if there are none.
async fn version(connection: &mut PgConnection, operation: &'static str, schema: &str) -> Result<i32> {
    let sql = format!("SELECT max(version) FROM {}.migration", quoted_schema("schema", schema)?);
    // The simple protocol, which any proxy carries out as one step.
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await;
    let read = |row: PgRow| row.try_get_unchecked::<Option<i32>, _>(0).map(Option::unwrap_or_default);
    match row.and_then(read) {
        Ok(version) => Ok(version),
        Err(error) if is_missing(&error) => Ok(0),
        Err(error) => Err(failed(operation, error).with("schema", schema)),
    }
}

fn is_missing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("42P01" | "3F000"))
}
