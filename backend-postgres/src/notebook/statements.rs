use std::sync::Arc;

use windlass_core::limits::BATCH_BYTES;

use super::ITEMS;
use crate::statements::{CLEANUP_ROWS, clean, in_place};

/// Every statement of the notebook, with the schema in its place.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) read: Arc<str>,
    pub(crate) write: Arc<str>,
    pub(crate) list: Arc<str>,
    pub(crate) gather: Arc<str>,
    pub(crate) retire: Arc<str>,
    pub(crate) gathered: Arc<str>,
    pub(crate) signal: Arc<str>,
    pub(crate) listen: Arc<str>,
    pub(crate) clean_notes: Arc<str>,
    pub(crate) clean_sets: Arc<str>,
    pub(crate) clean_places: Arc<str>,
    pub(crate) clean_listeners: Arc<str>,
}

impl Statements {
    /// `schema` is checked; `channel` is where signals are sent.
    pub(crate) fn new(schema: &str, channel: &str) -> Self {
        let text = |sql: &str| in_place(schema, channel, sql);
        Self {
            read: text(&read()),
            write: text(&write()),
            list: text(&list()),
            gather: text(GATHER),
            retire: text(RETIRE),
            gathered: text(&gathered()),
            signal: text(SIGNAL),
            listen: text(LISTEN),
            clean_notes: text(&clean_ended("note", "shelf, name", "")),
            clean_sets: text(&clean_ended("note_set", "shelf, name, id", CLEAR_LATER)),
            clean_places: text(&clean_places()),
            clean_listeners: text(&clean("topic_listener", "topic, name", "until")),
        }
    }
}

/// Whether there is a note in a row: it was not removed, and has not ended.
const IS_THERE: &str = "value IS NOT NULL AND expires_at > now()";

/// As many of `source` as fit into an answer, by `place`; each of them has a value.
fn fits() -> String {
    format!("(total <= {BATCH_BYTES} OR total = octet_length(value))")
}

/// Notes by their keys, each looked up by itself (see `load`). Of those that do not fit into one
/// answer, only the place is told.
fn read() -> String {
    let fits = fits();
    format!(
        "SELECT place, version, CASE WHEN {fits} THEN value END FROM (
            SELECT place, version, value, sum(octet_length(value)) OVER (ORDER BY place) AS total
            FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (wanted_shelf, wanted_name, place)
            CROSS JOIN LATERAL (
                SELECT version, value FROM {{schema}}.note
                WHERE shelf = wanted_shelf AND name = wanted_name AND {IS_THERE} OFFSET 0
            ) AS found
        ) AS summed"
    )
}

/// A page of a shelf, and how many notes there were before it was cut to what fits into one answer.
fn list() -> String {
    let fits = fits();
    format!(
        "SELECT name, version, value, seen FROM (
            SELECT name, version, value, sum(octet_length(value)) OVER (ORDER BY name) AS total, count(*) OVER () AS seen
            FROM (
                SELECT name, version, value FROM {{schema}}.note
                WHERE shelf = $1 AND name > $2 AND {IS_THERE} ORDER BY name LIMIT $3
            ) AS page
        ) AS summed WHERE {fits} ORDER BY name"
    )
}

/// Makes changes of different notes, and answers which of them were made.
///
/// The rows come in the order of their keys and pass one by one: the note is found and locked, its
/// guard is asked, and it is written, before the next one is found. So all who write lock in the
/// same order. A version is taken after the lock, so it is greater than the one before.
///
/// Between looking and writing, a note that was not there can be written by somebody else. The guard
/// of the conflict sees that: who expects nothing is refused, and who expects anything goes on if
/// his version is the greater one, or is not answered and comes again.
///
/// `$6` is the mark of the call. What has it already was written by an earlier attempt of the same
/// call, whose answer was lost: it stays as it is, and is answered as made. A removal leaves the row
/// without a value until it is cleaned up, so that a removal, too, is known.
fn write() -> String {
    format!(
        "INSERT INTO {{schema}}.note AS stored (shelf, name, mark, expires_at, value)
        SELECT new.shelf, new.name, CASE WHEN expected < 0 THEN -$6::bigint ELSE $6 END,
            COALESCE(now() + lifetime * interval '1 millisecond', 'infinity'), new.value
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[])
            AS new (shelf, name, expected, value, lifetime)
        LEFT JOIN LATERAL (
            SELECT version, mark, {IS_THERE} AS is_there FROM {{schema}}.note
            WHERE note.shelf = new.shelf AND note.name = new.name FOR UPDATE
        ) AS found ON true
        WHERE abs(found.mark) = $6 OR CASE
            WHEN expected IS NULL THEN new.value IS NOT NULL OR found.version IS NOT NULL
            WHEN expected < 0 THEN found.is_there IS NOT TRUE
            ELSE found.is_there AND found.version = expected
        END
        ON CONFLICT (shelf, name) DO UPDATE SET (version, mark, expires_at, value) = (
            CASE WHEN stored.mark = EXCLUDED.mark THEN stored.version ELSE EXCLUDED.version END,
            EXCLUDED.mark, EXCLUDED.expires_at, EXCLUDED.value)
        WHERE stored.mark = EXCLUDED.mark OR (EXCLUDED.version > stored.version
            AND (EXCLUDED.mark > 0 OR stored.value IS NULL OR stored.expires_at <= now()))
        RETURNING shelf, name, version"
    )
}

/// Fills places, and answers for each set its number, how many places are filled now, and which of
/// them were filled by this. A set that is not answered has just ended, or was made by somebody else
/// a moment ago.
///
/// The sets come in the order of their keys. Those that are there are locked first, all of them, and
/// only then are the others made (with all of their places filled, which nobody else can do), so that
/// nobody waits for a lock while others wait for what he has made. Who fills the same set waits at its
/// row, and counts on from the size that he then finds.
///
/// An end that is pushed forward is pushed by an eighth more, at most by a minute: so it stays where it
/// is for many calls, and the index of ends is left alone.
const GATHER: &str = "WITH given AS MATERIALIZED (
        SELECT shelf, name, now() + keep * interval '1 millisecond' AS until, count, number
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[]) WITH ORDINALITY
            AS given (shelf, name, keep, count, number)
    ), held AS MATERIALIZED (
        SELECT given.*, found.id FROM given CROSS JOIN LATERAL (
            SELECT id FROM {schema}.note_set
            WHERE note_set.shelf = given.shelf AND note_set.name = given.name AND expires_at > now() FOR UPDATE
        ) AS found
    ), made AS (
        INSERT INTO {schema}.note_set (shelf, name, size, expires_at)
        SELECT shelf, name, count, until FROM given WHERE number <> ALL (ARRAY (SELECT number FROM held))
        ON CONFLICT (shelf, name) DO NOTHING RETURNING shelf, name, id, size
    ), target AS MATERIALIZED (
        SELECT number, id, NULL::int AS size FROM held
        UNION ALL
        SELECT number, made.id, made.size FROM made JOIN given USING (shelf, name)
    ), filled AS (
        INSERT INTO {schema}.note_place (set_id, place, value)
        SELECT id, place, value FROM unnest($5::bigint[], $6::int[], $7::bytea[]) AS new (number, place, value)
            JOIN target USING (number)
        ON CONFLICT (set_id, place) DO NOTHING RETURNING set_id, place
    ), counted AS MATERIALIZED (
        SELECT set_id AS id, count(*) AS count, array_agg(place) AS places FROM filled GROUP BY set_id
    ), grown AS (
        INSERT INTO {schema}.note_set AS stored (shelf, name, id, size, expires_at)
        SELECT shelf, name, id, COALESCE(counted.count, 0), until FROM held LEFT JOIN counted USING (id)
        ON CONFLICT (shelf, name) DO UPDATE SET size = stored.size + EXCLUDED.size,
            expires_at = CASE WHEN EXCLUDED.expires_at <= stored.expires_at THEN stored.expires_at
                ELSE EXCLUDED.expires_at + LEAST((EXCLUDED.expires_at - now()) / 8, interval '1 minute') END
        RETURNING id, size
    )
    SELECT number, COALESCE(grown.size, target.size), COALESCE(places, '{}')
    FROM target LEFT JOIN grown USING (id) LEFT JOIN counted USING (id)";

/// Makes room for sets whose predecessors have ended and are not cleaned up yet.
const RETIRE: &str = "WITH over AS MATERIALIZED (
        SELECT found.* FROM unnest($1::text[], $2::text[]) AS given (shelf, name) CROSS JOIN LATERAL (
            SELECT shelf, name, id FROM {schema}.note_set
            WHERE note_set.shelf = given.shelf AND note_set.name = given.name AND expires_at <= now() FOR UPDATE
        ) AS found
    ), removed AS (
        DELETE FROM {schema}.note_set WHERE (shelf, name) IN (SELECT shelf, name FROM over)
    )
    INSERT INTO {schema}.note_set_over (id) SELECT id FROM over ON CONFLICT DO NOTHING";

/// Values of a set from place `$3` on, before `$4`; see [`list`].
fn gathered() -> String {
    let fits = fits();
    format!(
        "SELECT place, value, seen FROM (
            SELECT place, value, sum(octet_length(value)) OVER (ORDER BY place) AS total, count(*) OVER () AS seen
            FROM (
                SELECT place, value FROM {{schema}}.note_place
                WHERE set_id = (SELECT id FROM {{schema}}.note_set WHERE shelf = $1 AND name = $2 AND expires_at > now())
                    AND place >= $3 AND place < $4
                ORDER BY place LIMIT {ITEMS}
            ) AS part
        ) AS summed WHERE {fits} ORDER BY place"
    )
}

/// Sends a text to who listens to a topic. A notification costs every commit of the server a lock, so
/// none is made for nobody.
const SIGNAL: &str = "SELECT pg_notify('{channel}', $2) FROM {schema}.topic_listener
    WHERE topic = $1 AND until > now() LIMIT 1";

/// Notes that the process `$2` listens to topics. They come in order.
const LISTEN: &str = "INSERT INTO {schema}.topic_listener AS known (topic, name, until)
    SELECT topic, $2, now() + $3 * interval '1 millisecond' FROM unnest($1::text[]) AS given (topic)
    ON CONFLICT (topic, name) DO UPDATE SET until = EXCLUDED.until";

/// The places of sets that are removed by a clean-up.
const CLEAR_LATER: &str = ", later AS (
        INSERT INTO {schema}.note_set_over (id) SELECT id FROM over ON CONFLICT DO NOTHING
    )";

/// Removes rows that have ended, as the clean-up of results does.
fn clean_ended(table: &str, columns: &str, and: &str) -> String {
    format!(
        "WITH over AS MATERIALIZED (
            SELECT {columns}, expires_at FROM {{schema}}.{table}
            WHERE expires_at >= to_timestamp($1::bigint / 1e6) AND expires_at <= now()
            ORDER BY expires_at LIMIT {CLEANUP_ROWS} FOR UPDATE SKIP LOCKED
        ), removed AS (
            DELETE FROM {{schema}}.{table} WHERE (shelf, name) IN (SELECT shelf, name FROM over)
        ){and}
        SELECT count(*), (extract(epoch FROM max(expires_at)) * 1e6)::bigint FROM over"
    )
}

/// Removes places of sets that are over, and the sets of which none is left; answers how many places
/// or sets there were. The sets pass in the order of their ids, so only the last of them can be left
/// with places.
fn clean_places() -> String {
    format!(
        "WITH ended AS MATERIALIZED (
            SELECT id FROM {{schema}}.note_set_over ORDER BY id LIMIT {CLEANUP_ROWS} FOR UPDATE SKIP LOCKED
        ), over AS MATERIALIZED (
            SELECT id, place FROM ended CROSS JOIN LATERAL (
                SELECT place FROM {{schema}}.note_place WHERE set_id = id ORDER BY place LIMIT {CLEANUP_ROWS}
            ) AS filled LIMIT {CLEANUP_ROWS}
        ), removed AS (
            DELETE FROM {{schema}}.note_place WHERE (set_id, place) IN (SELECT id, place FROM over)
        ), cleared AS (
            DELETE FROM {{schema}}.note_set_over WHERE id IN (SELECT id FROM ended)
                AND ((SELECT count(*) FROM over) < {CLEANUP_ROWS} OR id < (SELECT max(id) FROM over))
        )
        SELECT GREATEST((SELECT count(*) FROM over), (SELECT count(*) FROM ended))"
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
        let Statements { read, write, list, gather, retire, gathered, signal, listen, .. } =
            &Statements::new("other", "heard");
        let Statements { clean_notes, clean_sets, clean_places, clean_listeners, .. } =
            &Statements::new("other", "heard");
        let columns = [
            (read, 3),
            (write, 3),
            (list, 4),
            (gather, 3),
            (retire, 0),
            (gathered, 3),
            (signal, 1),
            (listen, 0),
            (clean_notes, 2),
            (clean_sets, 2),
            (clean_places, 1),
            (clean_listeners, 1),
        ];
        for (sql, count) in columns {
            let prepared = (&mut connection).prepare(AssertSqlSafe(Arc::clone(sql)).into_sql_str()).await;
            let prepared = prepared.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(prepared.columns().len(), count, "{sql}");
        }
    }
}
