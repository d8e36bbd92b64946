//! What is stored, under which condition, and for how long.

use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::PgListener;
use windlass_core::{Backend, Failure, FailureKind, Record, Retention, SaveOutcome, State};

use crate::support::{
    Database, HOUR, NEVER, config, connect, id, listening, load, record, start_wait, succeeded, told, until,
};

#[tokio::test]
async fn the_statement_guards_as_the_core_does() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    // The ends of the range, and of the half that a signed number has.
    let tokens = [0, 9, 10, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX];
    for kept in [HOUR, Retention::None] {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (there, claim) in State::ALL.into_iter().flat_map(|state| tokens.map(|token| (state, token))) {
            for (state, token) in State::ALL.into_iter().flat_map(|state| tokens.map(|token| (state, token))) {
                let name = format!("{there}-{claim}-{state}-{token}-{kept}");
                before.push(record(&name, there, claim));
                after.push(Record { status_ttl: kept, attempt: 2, ..record(&name, state, token) });
            }
        }
        let first = backend.save(&before).await.unwrap();
        assert!(first.iter().all(|outcome| *outcome == SaveOutcome::Saved));
        let second = backend.save(&after).await.unwrap();
        let ids: Vec<_> = after.iter().map(|record| record.id.clone()).collect();
        let found = backend.load(&ids).await.unwrap();
        for (((stored, record), outcome), found) in before.iter().zip(&after).zip(second).zip(found) {
            let expected = if record.replaces(stored) { SaveOutcome::Saved } else { SaveOutcome::Refused };
            assert_eq!(outcome, expected, "{}", record.id);
            let left =
                if expected == SaveOutcome::Refused { Some(stored) } else { Some(record).filter(|_| kept == HOUR) };
            let seen = found.map(|found| (found.state, found.token, found.attempt));
            assert_eq!(seen, left.map(|left| (left.state, left.token, left.attempt)), "{}", record.id);
        }
    }
}

#[tokio::test]
async fn a_batch_may_hold_an_id_more_than_once() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    let records = [
        record("a", State::Running, 1),
        record("b", State::Running, 1),
        record("a", State::Succeeded, 1),
        record("a", State::Running, 1),
        record("b", State::Failed, 1),
    ];
    let outcomes = backend.save(&records).await.unwrap();
    use SaveOutcome::{Refused, Saved};
    assert_eq!(outcomes, [Saved, Saved, Saved, Refused, Saved]);
    assert_eq!(load(&backend, "a").await.unwrap().state, State::Succeeded);
    assert_eq!(load(&backend, "b").await.unwrap().state, State::Failed);
}

#[tokio::test]
async fn record_and_result_expire_apart_by_the_clock_of_the_server() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    let minute = Retention::For(Duration::from_secs(60));
    let records = [
        Record { result_ttl: minute, ..succeeded("apart") },
        Record { status_ttl: Retention::Forever, ..succeeded("forever") },
        Record { result_ttl: Retention::Forever, ..succeeded("shorter") },
        Record { result_ttl: Retention::None, ..succeeded("none") },
        Record { status_ttl: Retention::For(Duration::MAX), result_ttl: minute, ..succeeded("aeons") },
    ];
    backend.save(&records).await.unwrap();
    let sql = "SELECT id, CASE WHEN expires_at = 'infinity' THEN 'never'
            ELSE round(extract(epoch FROM expires_at - now()) / 60)::text END,
        round(extract(epoch FROM result_expires_at - now()) / 60), convert_from(result, 'UTF8')
        FROM windlass.result WHERE id <> 'aeons' ORDER BY id";
    assert_eq!(server.sql(sql), "apart|60|1|5\nforever|never|60|5\nnone|60||\nshorter|60||5");
    let aeons = "SELECT extract(year FROM expires_at) > 10000, result_expires_at < now() + interval '2 min'
        FROM windlass.result WHERE id = 'aeons'";
    assert_eq!(server.sql(aeons), "t|t");
}

#[tokio::test]
async fn what_has_expired_is_not_there_although_nobody_has_removed_it() {
    let server = Database::new();
    let backend = connect(config(&server).cleanup(NEVER)).await;
    let blink = Retention::For(Duration::from_nanos(1));
    let records = [
        Record { result_ttl: blink, ..succeeded("result") },
        Record { status_ttl: blink, ..record("a", State::Succeeded, 9) },
    ];
    backend.save(&records).await.unwrap();
    until(|| {
        server.sql("SELECT count(*) FROM windlass.result WHERE LEAST(expires_at, result_expires_at) < now()") == "2"
    })
    .await;
    assert_eq!(load(&backend, "result").await.unwrap().result, None);
    assert_eq!(load(&backend, "a").await, None);
    assert_eq!(backend.wait(&id("a"), Duration::from_millis(100)).await.unwrap(), None);
    assert_eq!(backend.save(&[record("a", State::Running, 1)]).await.unwrap(), [SaveOutcome::Saved], "an older claim");
    assert_eq!(load(&backend, "a").await.unwrap().state, State::Running);
}

#[tokio::test]
async fn what_has_expired_is_removed_in_small_batches() {
    let server = Database::new();
    let backend = connect(config(&server).cleanup(NEVER)).await;
    server.sql(
        "CREATE TABLE batch (count int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO batch SELECT count(*) FROM old; RETURN NULL; END $$;
        CREATE TRIGGER noted AFTER DELETE ON windlass.result REFERENCING OLD TABLE AS old EXECUTE FUNCTION note();",
    );
    let blink = Retention::For(Duration::from_millis(1));
    let gone: Vec<_> =
        (0..2500).map(|number| Record { status_ttl: blink, ..succeeded(format!("gone-{number}")) }).collect();
    let halved: Vec<_> =
        (0..1500).map(|number| Record { result_ttl: blink, ..succeeded(format!("half-{number}")) }).collect();
    backend.save(&gone).await.unwrap();
    backend.save(&halved).await.unwrap();
    backend
        .save(&[succeeded("whole"), Record { status_ttl: Retention::Forever, ..succeeded("forever") }])
        .await
        .unwrap();
    // A transaction that sees everything keeps the space from being used again, and nothing else.
    let mut old = crate::support::pool(&server, 1).await.begin().await.unwrap();
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1").execute(&mut *old).await.unwrap();
    let (_one, _two) = (
        connect(config(&server).cleanup(Duration::from_millis(20))).await,
        connect(config(&server).cleanup(Duration::from_millis(20))).await,
    );
    let left = "SELECT count(*), count(result), count(result_expires_at) FROM windlass.result";
    until(|| server.sql(left) == "1502|2|1").await;
    assert_eq!(server.sql("SELECT sum(count), max(count) <= 1000 FROM batch"), "2500|t");
    assert_eq!(load(&backend, "half-7").await.unwrap().state, State::Succeeded);
}

#[tokio::test]
async fn nothing_stays_of_those_who_listened_and_were_told() {
    let server = Database::new();
    let _backend = connect(config(&server).cleanup(Duration::from_millis(20))).await;
    server.sql(
        "INSERT INTO windlass.listener SELECT i::text, now() FROM generate_series(1, 1200) AS i;
        INSERT INTO windlass.listener VALUES ('here', now() + interval '1 h');
        INSERT INTO windlass.told SELECT i::text, 'x', now() FROM generate_series(1, 1200) AS i;",
    );
    until(|| {
        server.sql("SELECT (SELECT count(*) FROM windlass.told), (SELECT count(*) FROM windlass.listener)") == "0|1"
    })
    .await;
}

#[tokio::test]
async fn what_is_not_kept_is_told_and_removes_what_was() {
    let server = Database::new();
    let backend = connect(config(&server).poll(NEVER)).await;
    backend.save(&[record("a", State::Running, 1)]).await.unwrap();
    let wait = start_wait(&backend, "a");
    listening(&server, 1).await;
    let large = Bytes::from(vec![b'x'; 200 * 1024]);
    let record = Record { status_ttl: Retention::None, result: Some(large.clone()), ..succeeded("a") };
    assert_eq!(backend.save(&[record]).await.unwrap(), [SaveOutcome::Saved]);
    assert_eq!(told(wait).await.result, Some(large));
    assert_eq!(server.sql("SELECT count(*) FROM windlass.result"), "0");
    assert_eq!(backend.wait(&id("a"), Duration::from_millis(100)).await.unwrap(), None, "only who waited is told");
}

#[tokio::test]
async fn a_result_that_is_not_kept_is_told() {
    let server = Database::new();
    let backend = connect(config(&server).poll(NEVER)).await;
    let waits = ["small", "large"].map(|name| start_wait(&backend, name));
    listening(&server, 1).await;
    let large = Bytes::from(vec![b'x'; 200 * 1024]);
    let records = [succeeded("small"), Record { result: Some(large.clone()), ..succeeded("large") }];
    backend.save(&records.map(|record| Record { result_ttl: Retention::None, ..record })).await.unwrap();
    let [small_wait, large_wait] = waits;
    assert_eq!(told(small_wait).await.result.as_deref(), Some(&b"5"[..]));
    assert_eq!(told(large_wait).await.result, Some(large));
    assert_eq!(load(&backend, "small").await.unwrap().result, None);
}

#[tokio::test]
async fn nothing_is_announced_and_put_aside_for_nobody() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    let mut listener = PgListener::connect(&server.url()).await.unwrap();
    listener.listen("windlass_result").await.unwrap();
    backend.save(&[succeeded("a"), Record { status_ttl: Retention::None, ..succeeded("b") }]).await.unwrap();
    server.sql("INSERT INTO windlass.listener VALUES ('here', now() + interval '1 h')");
    let running = record("c", State::Running, 1);
    let unkept = Record { status_ttl: Retention::None, ..succeeded("d") };
    backend.save(&[running, unkept, succeeded("e")]).await.unwrap();
    let notice = listener.recv().await.unwrap();
    assert_eq!(notice.payload(), "+d e", "the first announcement is of the second save");
    assert_eq!(server.sql("SELECT id FROM windlass.told"), "d");
}

#[tokio::test]
async fn announcements_of_many_are_split() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    let mut listener = PgListener::connect(&server.url()).await.unwrap();
    listener.listen("windlass_result").await.unwrap();
    server.sql("INSERT INTO windlass.listener VALUES ('here', now() + interval '1 h')");
    let long = |number: usize| format!("{number:0>128}");
    let records: Vec<_> = (0..1000).map(|number| succeeded(long(number))).collect();
    backend.save(&records).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 1000 {
        let notice = listener.recv().await.unwrap();
        assert!(notice.payload().len() < 8000);
        heard.extend(notice.payload().split(' ').map(str::to_owned));
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..1000).map(long).collect::<Vec<_>>());
}

#[tokio::test]
async fn batches_of_any_size() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    let records: Vec<_> = (0..2500).map(succeeded).collect();
    assert_eq!(backend.save(&records).await.unwrap().len(), 2500);
    let large: Vec<_> = (0..9)
        .map(|number| Record { result: Some(vec![number; 1024 * 1024].into()), ..succeeded(format!("large-{number}")) })
        .collect();
    backend.save(&large).await.unwrap();
    let ids: Vec<_> = large.iter().chain(&records).map(|record| record.id.clone()).collect();
    let found = backend.load(&ids).await.unwrap();
    for (found, saved) in found.into_iter().zip(large.iter().chain(&records)) {
        let found = found.expect("it was saved");
        assert_eq!((&found.id, &found.result), (&saved.id, &saved.result));
    }
    backend.forget(&ids).await.unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM windlass.result"), "0");
}

#[tokio::test]
async fn a_row_can_be_read_by_people() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    let failure = Failure { causes: vec!["Gödel".to_owned()], ..Failure::new(FailureKind::Timeout, "too slow", 3) };
    backend.save(&[Record { failure: Some(failure), attempt: 3, ..record("a", State::Failed, 7) }]).await.unwrap();
    let sql =
        "SELECT id, token, state, attempt, failure::json->>'message', failure::json->'causes'->>0 FROM windlass.result";
    assert_eq!(server.sql(sql), "a|7|failed|3|too slow|Gödel");
}

#[tokio::test]
async fn a_row_that_is_not_ours_is_an_error_for_its_readers_alone() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("a"), succeeded("b")]).await.unwrap();
    server.sql("UPDATE windlass.result SET failure = '{' WHERE id = 'a'");
    let error = backend.load(&[id("a")]).await.unwrap_err();
    assert_eq!(error.kind(), windlass_core::ErrorKind::Codec, "{error}");
    assert_eq!(error.task_id(), Some(&id("a")), "{error}");
    let (bad, good) = (start_wait(&backend, "a"), start_wait(&backend, "b"));
    told(good).await;
    let error = bad.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), windlass_core::ErrorKind::Codec, "{error}");
}
