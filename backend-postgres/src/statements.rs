//! Every statement, with the schema in its place.

use std::sync::Arc;

/// Longest list of ids in one notification, which may have 8,000 bytes: the last id may exceed it.
const NOTICE_BYTES: usize = 7_800;
/// Seconds for which a record that is not kept waits for those who were told of it.
const TOLD_SECONDS: u32 = 30;
/// Most rows that one clean-up removes.
pub(crate) const CLEANUP_ROWS: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) save: Arc<str>,
    pub(crate) save_any: Arc<str>,
    pub(crate) load: Arc<str>,
    pub(crate) ended: Arc<str>,
    pub(crate) told: Arc<str>,
    pub(crate) forget: Arc<str>,
    pub(crate) listen: Arc<str>,
    pub(crate) clean_results: Arc<str>,
    pub(crate) clean_told: Arc<str>,
    pub(crate) clean_listeners: Arc<str>,
}

impl Statements {
    /// `schema` is checked; `channel` is where ends are announced.
    pub(crate) fn new(schema: &str, channel: &str) -> Self {
        let text = |sql: &str| in_place(schema, channel, sql);
        Self {
            save: text(&save()),
            save_any: text(&save_any()),
            load: text(&load("")),
            ended: text(&load(&format!("AND state IN {FINAL}"))),
            told: text(TOLD),
            forget: text(FORGET),
            listen: text(LISTEN),
            clean_results: text(&clean_results()),
            clean_told: text(&clean("told", "id", "expires_at")),
            clean_listeners: text(&clean("listener", "name", "until")),
        }
    }
}

/// A statement with the schema and the channel in their places.
pub(crate) fn in_place(schema: &str, channel: &str, sql: &str) -> Arc<str> {
    let sql = sql.replace("{schema}", &format!("\"{schema}\"")).replace("{channel}", channel);
    // Indentation is sent and compared with every call.
    sql.split_whitespace().collect::<Vec<_>>().join(" ").into()
}

const FINAL: &str = "('succeeded', 'failed', 'cancelled', 'expired')";

/// The columns of the records of a batch. Lifetimes are in milliseconds; none is for ever.
const NEW: &str = "new AS (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[],
        $8::bigint[], $9::bigint[])
    AS given (id, token, state, attempt, at, failure, result, lifetime, result_lifetime)
)";

/// Whether a new record may take the place of what is stored: `Record::replaces` of windlass-core.
/// Tokens have 64 bits without a sign; to compare them, the highest bit is turned over.
fn replaces(new: &str, stored: &str) -> String {
    let unsigned = |row: &str| format!("({row}.token # '-9223372036854775808'::bigint)");
    format!(
        "({stored}.expires_at <= now() OR ({} >= {} AND ({stored}.state NOT IN {FINAL} OR CASE
            WHEN {new}.token = {stored}.token
            THEN {new}.state = {stored}.state OR ({stored}.state = 'cancelled' AND {new}.state = 'queued')
            ELSE {stored}.state = 'failed'
        END)))",
        unsigned(new),
        unsigned(stored),
    )
}

/// Stores the records of `source`. They come in the order of their ids, so that two batches never
/// wait for each other.
fn upsert(source: &str) -> String {
    format!(
        "INSERT INTO {{schema}}.result AS stored
            (id, token, state, attempt, at, expires_at, result_expires_at, failure, result)
        SELECT id, token, state, attempt, at,
            COALESCE(now() + lifetime * interval '1 millisecond', 'infinity'),
            now() + result_lifetime * interval '1 millisecond', failure, result
        FROM {source}
        ON CONFLICT (id) DO UPDATE SET (token, state, attempt, at, expires_at, result_expires_at, failure, result) =
            (EXCLUDED.token, EXCLUDED.state, EXCLUDED.attempt, EXCLUDED.at, EXCLUDED.expires_at,
            EXCLUDED.result_expires_at, EXCLUDED.failure, EXCLUDED.result)
        WHERE {}",
        replaces("EXCLUDED", "stored"),
    )
}

/// Announces the ends among `passed`, which has an id, a state and a mark, if somebody listens.
/// A notification costs every commit of the server a lock, so none is made for nobody.
fn announce() -> String {
    format!(
        "announced AS (
            SELECT count(pg_notify('{{channel}}', ids)) FROM (
                SELECT string_agg(mark || id, ' ') AS ids FROM (
                    SELECT id, mark, sum(length(id) + 2) OVER (ORDER BY id) / {NOTICE_BYTES} AS part
                    FROM passed WHERE state IN {FINAL}
                ) AS ended GROUP BY part
            ) AS notices WHERE EXISTS (SELECT FROM {{schema}}.listener WHERE until > now())
        )"
    )
}

/// The answer of a save: nothing if all records have passed, otherwise the ids that have.
const ANSWER: &str = "SELECT CASE WHEN (SELECT count(*) FROM passed) < cardinality($1)
        THEN ARRAY(SELECT id FROM passed) END
    FROM announced";

/// Saves records that are kept.
fn save() -> String {
    let (upsert, announce) = (upsert("new"), announce());
    format!("WITH {NEW}, passed AS ({upsert} RETURNING id, state, '' AS mark), {announce} {ANSWER}")
}

/// Saves records of which some are not kept, or not with their result: lifetime 0. In $10 is what
/// those who wait are told of them.
fn save_any() -> String {
    let (upsert, announce) = (upsert("(SELECT * FROM new WHERE lifetime IS DISTINCT FROM 0) AS kept"), announce());
    let replaces = replaces("new", "there");
    format!(
        "WITH {NEW}, letters AS (
            SELECT * FROM unnest($1::text[], $10::bytea[]) AS given (id, record) WHERE record IS NOT NULL
        ), there AS MATERIALIZED (
            SELECT id, token, state, expires_at FROM {{schema}}.result
            WHERE id IN (SELECT id FROM new WHERE lifetime = 0) ORDER BY id FOR UPDATE
        ), removed AS (
            DELETE FROM {{schema}}.result AS old USING new, there
            WHERE old.id = new.id AND there.id = new.id AND {replaces}
        ), saved AS (
            {upsert} RETURNING id, state
        ), passed AS (
            SELECT id, state, CASE WHEN letters.id IS NULL THEN '' ELSE '+' END AS mark
            FROM (
                SELECT id, state FROM saved
                UNION ALL
                SELECT new.id, new.state FROM new LEFT JOIN there USING (id)
                WHERE new.lifetime = 0 AND (there.id IS NULL OR {replaces})
            ) AS done LEFT JOIN letters USING (id)
        ), sent AS (
            INSERT INTO {{schema}}.told (id, record, expires_at)
            SELECT id, record, now() + interval '{TOLD_SECONDS} seconds'
            FROM letters WHERE id IN (SELECT id FROM passed)
                AND EXISTS (SELECT FROM {{schema}}.listener WHERE until > now())
            ON CONFLICT (id) DO UPDATE SET record = EXCLUDED.record, expires_at = EXCLUDED.expires_at
        ), {announce} {ANSWER}"
    )
}

/// What is stored and has not expired. Each id is looked up by itself (`OFFSET` keeps the planner from
/// making a join of it), so that nothing depends on what the server believes about the table's size.
fn load(condition: &str) -> String {
    format!(
        "SELECT found.* FROM unnest($1::text[]) AS asked (wanted) CROSS JOIN LATERAL (
            SELECT id, token, state, attempt, at, failure,
                CASE WHEN result_expires_at <= now() THEN NULL ELSE result END AS result
            FROM {{schema}}.result WHERE id = wanted AND expires_at > now() {condition} OFFSET 0
        ) AS found"
    )
}

const TOLD: &str = "SELECT id, record FROM {schema}.told WHERE id = ANY ($1)";

const FORGET: &str = "WITH gone AS MATERIALIZED (
        SELECT id FROM {schema}.result WHERE id = ANY ($1) ORDER BY id FOR UPDATE
    ), untold AS (
        DELETE FROM {schema}.told WHERE id = ANY ($1)
    )
    DELETE FROM {schema}.result WHERE id IN (SELECT id FROM gone)";

/// Notes that somebody of this process waits.
const LISTEN: &str = "INSERT INTO {schema}.listener AS known (name, until)
    VALUES ($1, now() + $2 * interval '1 millisecond')
    ON CONFLICT (name) DO UPDATE SET until = EXCLUDED.until";

/// Removes what has expired, at most [`CLEANUP_ROWS`]: rows, or their results alone. What somebody
/// else has locked is left to the next time, so that many processes can clean up at once; what has
/// been renewed meanwhile is left alone. Begins with what ended at $1, in microseconds since 1970;
/// answers how many there were, and when the last of them has ended.
fn clean_results() -> String {
    let end = "LEAST(expires_at, result_expires_at)";
    format!(
        "WITH over AS MATERIALIZED (
            SELECT id, expires_at <= now() AS whole, {end} AS ended FROM {{schema}}.result
            WHERE {end} >= to_timestamp($1::bigint / 1e6) AND {end} <= now() ORDER BY {end} LIMIT {CLEANUP_ROWS} FOR UPDATE SKIP LOCKED
        ), emptied AS (
            UPDATE {{schema}}.result AS old SET result = NULL, result_expires_at = NULL
            FROM over WHERE old.id = over.id AND NOT over.whole
        ), removed AS (
            DELETE FROM {{schema}}.result AS old USING over WHERE old.id = over.id AND over.whole
        )
        SELECT count(*), (extract(epoch FROM max(ended)) * 1e6)::bigint FROM over"
    )
}

/// Removes what has ended, at most [`CLEANUP_ROWS`] rows; answers how many there were.
pub(crate) fn clean(table: &str, key: &str, end: &str) -> String {
    format!(
        "WITH over AS MATERIALIZED (
            SELECT {key} FROM {{schema}}.{table} WHERE {end} <= now() LIMIT {CLEANUP_ROWS} FOR UPDATE SKIP LOCKED
        ), removed AS (
            DELETE FROM {{schema}}.{table} WHERE ({key}) IN (SELECT {key} FROM over)
        )
        SELECT count(*) FROM over"
    )
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use sqlx::postgres::PgConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, SqlSafeStr as _, Statement as _};
    use windlass_testing::servers::PostgresServer;

    use super::*;
    use crate::migrate::migrate_over;

    #[tokio::test]
    async fn a_server_takes_every_statement() {
        let server = PostgresServer::start();
        let options = PgConnectOptions::from_str(&server.url()).unwrap();
        migrate_over(options.connect().await.unwrap(), "other").await.unwrap();
        let mut connection = options.connect().await.unwrap();
        let Statements { save, save_any, load, ended, told, forget, listen, .. } = &Statements::new("other", "heard");
        let Statements { clean_results, clean_told, clean_listeners, .. } = &Statements::new("other", "heard");
        let columns = [
            (save, 1),
            (save_any, 1),
            (load, 7),
            (ended, 7),
            (told, 2),
            (forget, 0),
            (listen, 0),
            (clean_results, 2),
            (clean_told, 1),
            (clean_listeners, 1),
        ];
        for (sql, count) in columns {
            let prepared = (&mut connection).prepare(AssertSqlSafe(Arc::clone(sql)).into_sql_str()).await;
            let prepared = prepared.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(prepared.columns().len(), count, "{sql}");
        }
    }
}
