//! The SQL of the outbox. Every step is one statement; each is prepared by a test.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};
use windlass_core::limits::{BATCH_BYTES, BATCH_ITEMS};

/// Refused rows that are tried again at a time: each may cost a call of its own.
pub(super) const STUCK_ITEMS: usize = 100;
/// Counting stops here, so that looking at a backlog costs the same however long it is.
pub(super) const COUNTED: i64 = 100_000;

/// What a claim returns of a row; `o` is the row.
const ROW: &str = "o.seq, o.id, o.queue, o.delay_us, o.due_us, o.body, o.queue_limit,
    (extract(epoch FROM clock_timestamp() - o.written_at) * 1000000)::bigint AS age_us";

/// The pause before the next attempt after `$attempts`: 5 s doubled up to 10 min, half of it left to chance.
const BACKOFF: &str = "least(5 * 2 ^ least($attempts - 1, 10), 600) * (0.5 + random() / 2) * interval '1 second'";

/// Ends a condition of what a relay changes: its commit does not wait for the disk. What a crash of the
/// server undoes is done again, and the broker refuses what it knows.
const LAZILY: &str = "(SELECT set_config('synchronous_commit', 'off', true)) = 'off'";

/// One text a step, with the schema in its place.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) write: SqlStr,
    pub(super) write_silently: SqlStr,
    pub(super) claim: SqlStr,
    pub(super) claim_stuck: SqlStr,
    pub(super) renew: SqlStr,
    pub(super) release: SqlStr,
    pub(super) delete: SqlStr,
    pub(super) delete_stuck: SqlStr,
    pub(super) set_aside: SqlStr,
    pub(super) explain_stuck: SqlStr,
    pub(super) stats: SqlStr,
    pub(super) list_stuck: SqlStr,
    pub(super) retry: SqlStr,
    pub(super) remove: SqlStr,
}

impl Statements {
    /// `schema` is quoted, `channel` is a checked name.
    pub(super) fn new(schema: &str, channel: &str) -> Self {
        let text = |sql: &str| -> SqlStr {
            let sql = sql.replace("{schema}", schema).replace("{channel}", channel).replace("{row}", ROW);
            let sql = sql.replace("{lazily}", LAZILY);
            AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
        };
        let insert = "INSERT INTO {schema}.outbox (id, queue, delay_us, due_us, body, queue_limit)
            SELECT id, queue, delay_us, due_us, body, queue_limit
            FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[], $6::text[])
                WITH ORDINALITY AS item (id, queue, delay_us, due_us, body, queue_limit, place)
            ORDER BY place";
        Self {
            write: text(&format!("WITH written AS ({insert}) SELECT pg_notify('{{channel}}', '')")),
            write_silently: text(insert),
            claim: text(&claim()),
            claim_stuck: text(&claim_stuck()),
            renew: text(
                "UPDATE {schema}.outbox SET claimed_until = now() + $3 * interval '1 microsecond'
                WHERE seq = ANY ($1) AND claim = $2 AND {lazily} RETURNING seq",
            ),
            release: text(
                "UPDATE {schema}.outbox SET claimed_until = '-infinity' WHERE seq = ANY ($1) AND claim = $2 AND {lazily}",
            ),
            delete: text("DELETE FROM {schema}.outbox WHERE seq = ANY ($1) AND claim = $2 AND {lazily}"),
            delete_stuck: text("DELETE FROM {schema}.outbox_stuck WHERE seq = ANY ($1) AND claim = $2"),
            set_aside: text(&set_aside()),
            explain_stuck: text(
                "UPDATE {schema}.outbox_stuck AS o SET reason = refused.reason
                FROM unnest($1::bigint[], $2::text[]) AS refused (seq, reason)
                WHERE o.seq = refused.seq AND o.claim = $3 AND o.reason <> refused.reason",
            ),
            stats: text(&stats()),
            list_stuck: text(&list_stuck()),
            retry: text(
                "WITH woken AS (
                    UPDATE {schema}.outbox_stuck SET retry_at = now() WHERE seq = ANY ($1) RETURNING seq
                ) SELECT count(*), pg_notify('{channel}', 'stuck')::text FROM woken",
            ),
            remove: text("DELETE FROM {schema}.outbox_stuck WHERE seq = ANY ($1) RETURNING seq"),
        }
    }
}

/// Takes the oldest free rows after `$1`, as many as one call of a broker may hold.
///
/// The sequence numbers are collected before the update begins, and the limits are part of the
/// text: so the planner always walks the primary key, whatever it believes of the table.
fn claim() -> String {
    format!(
        "WITH head AS MATERIALIZED (
            SELECT seq, octet_length(body) AS bytes FROM {{schema}}.outbox
            WHERE seq > $1 AND claimed_until <= now()
            ORDER BY seq LIMIT {BATCH_ITEMS} FOR UPDATE SKIP LOCKED
        ), sums AS (
            SELECT seq, bytes, sum(bytes) OVER (ORDER BY seq) AS total FROM head
        )
        UPDATE {{schema}}.outbox AS o SET claimed_until = now() + $2 * interval '1 microsecond', claim = $3
        WHERE o.seq = ANY (ARRAY (SELECT seq FROM sums WHERE total <= {BATCH_BYTES} OR total = bytes)) AND {{lazily}}
        RETURNING {{row}}, (SELECT count(*) FROM sums) AS seen"
    )
}

/// Takes refused rows whose pause is over. The attempt is counted, and the next one planned, at once.
fn claim_stuck() -> String {
    let backoff = BACKOFF.replace("$attempts", "(o.attempts + 1)");
    format!(
        "WITH head AS MATERIALIZED (
            SELECT seq, octet_length(body) AS bytes, retry_at FROM {{schema}}.outbox_stuck
            WHERE retry_at <= now()
            ORDER BY retry_at LIMIT {STUCK_ITEMS} FOR UPDATE SKIP LOCKED
        ), sums AS (
            SELECT seq, bytes, sum(bytes) OVER (ORDER BY retry_at, seq) AS total FROM head
        )
        UPDATE {{schema}}.outbox_stuck AS o SET attempts = o.attempts + 1, retry_at = now() + {backoff}, claim = $1
        WHERE o.seq = ANY (ARRAY (SELECT seq FROM sums WHERE total <= {BATCH_BYTES} OR total = bytes))
        RETURNING {{row}}, (SELECT count(*) FROM sums) AS seen"
    )
}

fn set_aside() -> String {
    let backoff = BACKOFF.replace("$attempts", "1");
    format!(
        "WITH gone AS (
            DELETE FROM {{schema}}.outbox AS o
            USING unnest($1::bigint[], $2::text[]) AS refused (seq, reason)
            WHERE o.seq = refused.seq AND o.claim = $3
            RETURNING o.*, refused.reason
        )
        INSERT INTO {{schema}}.outbox_stuck
            (seq, id, queue, delay_us, due_us, written_at, attempts, reason, retry_at, body, queue_limit)
        SELECT seq, id, queue, delay_us, due_us, written_at, 1, reason, now() + {backoff}, body, queue_limit FROM gone"
    )
}

fn stats() -> String {
    let count =
        |table: &str| format!("(SELECT count(*) FROM (SELECT FROM {{schema}}.{table} LIMIT {COUNTED}) AS head)");
    let age = "(extract(epoch FROM clock_timestamp() - written_at) * 1000000)::bigint";
    format!(
        "SELECT {}, {}, (SELECT {age} FROM {{schema}}.outbox ORDER BY seq LIMIT 1)",
        count("outbox"),
        count("outbox_stuck")
    )
}

/// A page after `$1`, with at most as many bytes as a broker takes at a time.
fn list_stuck() -> String {
    format!(
        "WITH head AS MATERIALIZED (
            SELECT seq, octet_length(body) AS bytes FROM {{schema}}.outbox_stuck WHERE seq > $1 ORDER BY seq LIMIT $2
        ), sums AS (
            SELECT seq, bytes, sum(bytes) OVER (ORDER BY seq) AS total FROM head
        )
        SELECT {{row}}, o.attempts, o.reason,
            (extract(epoch FROM o.written_at) * 1000000)::bigint AS written_us,
            (extract(epoch FROM o.retry_at) * 1000000)::bigint AS retry_us
        FROM {{schema}}.outbox_stuck AS o
        WHERE o.seq = ANY (ARRAY (SELECT seq FROM sums WHERE total <= {BATCH_BYTES} OR total = bytes))
        ORDER BY o.seq"
    )
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor as _, PgPool, Row as _, SqlStr};
    use windlass_testing::servers::PostgresServer;

    use crate::outbox::{Outbox, OutboxConfig};

    async fn outbox(server: &PostgresServer) -> (PgPool, Outbox) {
        let pool = PgPool::connect(&server.url()).await.unwrap();
        let outbox = Outbox::from_pool(pool.clone(), OutboxConfig::default()).unwrap();
        outbox.ready().await.unwrap();
        (pool, outbox)
    }

    /// How the server carries out a statement that it knows only in general.
    async fn plan(pool: &PgPool, statement: &SqlStr, arguments: &str) -> String {
        let mut connection = pool.acquire().await.unwrap();
        let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE step AS {}", statement.as_str());
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
        let explain = format!("EXPLAIN EXECUTE step({arguments})");
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
    }

    #[tokio::test]
    async fn every_statement_is_understood() {
        let server = PostgresServer::start();
        let (pool, outbox) = outbox(&server).await;
        let s = &outbox.0.statements;
        let write = [&s.write, &s.write_silently];
        let relay = [&s.claim, &s.claim_stuck, &s.renew, &s.release, &s.delete, &s.delete_stuck, &s.set_aside];
        let others = [&s.explain_stuck, &s.stats, &s.list_stuck, &s.retry, &s.remove];
        for statement in write.into_iter().chain(relay).chain(others) {
            (&pool).prepare(statement.clone()).await.unwrap_or_else(|error| panic!("{error}: {}", statement.as_str()));
        }
    }

    #[tokio::test]
    async fn no_step_of_a_relay_reads_the_whole_table() {
        let server = PostgresServer::start();
        let (pool, outbox) = outbox(&server).await;
        let fill = "INSERT INTO windlass.outbox (id, queue, body)
                SELECT 'id' || n, 'q', 'x' FROM generate_series(1, 100000) AS n;
            INSERT INTO windlass.outbox_stuck
                SELECT n, 'id' || n, 'q', NULL, NULL, now(), 1, 'no', now() + interval '1 h', 0, 'x'
                FROM generate_series(1, 100000) AS n;
            ANALYZE windlass.outbox; ANALYZE windlass.outbox_stuck";
        sqlx::raw_sql(fill).execute(&pool).await.unwrap();
        let s = &outbox.0.statements;
        let steps = [
            (&s.claim, "0, 30000000, 7"),
            (&s.claim_stuck, "7"),
            (&s.renew, "'{1,2}', 7, 30000000"),
            (&s.release, "'{1,2}', 7"),
            (&s.delete, "'{1,2}', 7"),
            (&s.delete_stuck, "'{1,2}', 7"),
            (&s.set_aside, "'{1,2}', '{no,no}', 7"),
            (&s.explain_stuck, "'{1,2}', '{no,no}', 7"),
            (&s.list_stuck, "0, 100"),
            (&s.retry, "'{1,2}'"),
            (&s.remove, "'{1,2}'"),
        ];
        for (statement, arguments) in steps {
            let plan = plan(&pool, statement, arguments).await;
            assert!(!plan.contains("Seq Scan on outbox"), "{}\n{plan}", statement.as_str());
        }
    }

    /// Pages that a statement has read.
    async fn pages(pool: &PgPool, statement: &SqlStr, arguments: [i64; 3]) -> u64 {
        let [floor, lease, claim] = arguments;
        let text = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {}", statement.as_str());
        let query = sqlx::query(AssertSqlSafe(text)).bind(floor).bind(lease).bind(claim);
        let rows = query.fetch_all(pool).await.unwrap();
        let line = rows.iter().map(|row| row.get::<String, _>(0)).find(|line| line.contains("shared hit=")).unwrap();
        let count = |word: &str| line.split(word).nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        count("hit=").unwrap_or(0) + count("read=").unwrap_or(0)
    }

    #[tokio::test]
    async fn fault_099_what_a_long_transaction_keeps_from_being_cleaned_away_is_not_looked_at() {
        let server = PostgresServer::start();
        let (pool, outbox) = outbox(&server).await;
        let mut long = pool.begin().await.unwrap();
        let hold = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1";
        sqlx::raw_sql(hold).execute(&mut *long).await.unwrap();
        let fill = "INSERT INTO windlass.outbox (id, queue, body)
                SELECT 'id' || n, 'q', 'x' FROM generate_series(1, 100000) AS n;
            DELETE FROM windlass.outbox WHERE seq <= 98000; ANALYZE windlass.outbox";
        sqlx::raw_sql(fill).execute(&pool).await.unwrap();
        let claim = &outbox.0.statements.claim;
        let backlog = pages(&pool, claim, [98_000, 30_000_000, 7]).await;
        let sweep = pages(&pool, claim, [0, 30_000_000, 7]).await;
        // Ten pages a row at most: to find it, to lock it, to change it.
        assert!(backlog < 10_000 && sweep > backlog, "{backlog} pages in a backlog, {sweep} in a sweep");
        long.rollback().await.unwrap();
    }
}
