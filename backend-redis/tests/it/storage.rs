//! What is stored, under which condition, and for how long.

use std::time::Duration;

use bytes::Bytes;
use windlass_backend_redis::RedisBackendConfig;
use windlass_core::{Backend, ErrorKind, Record, Retention, SaveOutcome, State};
use windlass_testing::servers::RedisServer;

use crate::support::{HOUR, calls, config, connect, id, load, pttl, record, registered, start_wait, succeeded, told};
use crate::support::{NEVER, until_async};

/// Every byte value.
fn every_byte() -> Bytes {
    (0..=255).collect()
}

#[tokio::test]
async fn the_script_guards_as_the_core_does() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    // Lengths and digits that differ, and the ends of the range.
    let tokens = [0, 9, 10, 99, u64::MAX - 1, u64::MAX];
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (stored_state, stored_token) in State::ALL.into_iter().flat_map(|state| tokens.map(|token| (state, token))) {
        for (state, token) in State::ALL.into_iter().flat_map(|state| tokens.map(|token| (state, token))) {
            let name = format!("{stored_state}-{stored_token}-{state}-{token}");
            before.push(record(&name, stored_state, stored_token));
            after.push(record(&name, state, token));
        }
    }
    let first = backend.save(&before).await.unwrap();
    assert!(first.iter().all(|outcome| *outcome == SaveOutcome::Saved));
    let second = backend.save(&after).await.unwrap();
    for ((stored, record), outcome) in before.iter().zip(&after).zip(second) {
        let expected = if record.replaces(stored) { SaveOutcome::Saved } else { SaveOutcome::Refused };
        assert_eq!(outcome, expected, "{}", record.id);
        let kept = if expected == SaveOutcome::Saved { record } else { stored };
        let found = load(&backend, &record.id).await.unwrap();
        assert_eq!((found.state, found.token), (kept.state, kept.token), "{}", record.id);
    }
}

#[tokio::test]
async fn a_batch_may_hold_an_id_more_than_once() {
    let server = RedisServer::start();
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
async fn record_and_result_expire_apart() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let minute = Retention::For(Duration::from_secs(60));
    let records = [
        Record { result_ttl: minute, ..succeeded("apart") },
        Record { status_ttl: Retention::Forever, ..succeeded("forever") },
        Record { result_ttl: Retention::Forever, ..succeeded("shorter") },
        Record { result_ttl: Retention::None, ..succeeded("none") },
        Record { status_ttl: Retention::Forever, result_ttl: Retention::Forever, ..succeeded("both") },
        Record { status_ttl: Retention::For(Duration::MAX), result_ttl: minute, ..succeeded("aeons") },
    ];
    backend.save(&records).await.unwrap();
    let life = |kind: &str, name: &str| pttl(&server, &format!("windlass:{{results}}:{kind}:{name}"));
    let about = |millis: i64, expected: i64| (expected - 30_000..=expected).contains(&millis);
    assert!(about(life("s", "apart"), 3_600_000) && about(life("v", "apart"), 60_000));
    assert!(life("s", "forever") == -1 && about(life("v", "forever"), 3_600_000));
    assert!(about(life("s", "shorter"), 3_600_000) && life("v", "shorter") == -2);
    assert!(about(life("s", "none"), 3_600_000) && life("v", "none") == -2);
    assert!(life("s", "both") == -1 && life("v", "both") == -2);
    assert!(life("s", "aeons") > 1_000_000_000_000 && about(life("v", "aeons"), 60_000));
    for (name, result) in [("apart", Some("5")), ("forever", Some("5")), ("both", Some("5")), ("none", None)] {
        assert_eq!(load(&backend, name).await.unwrap().result.as_deref(), result.map(str::as_bytes), "{name}");
    }
}

#[tokio::test]
async fn everything_ends() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let blink = Retention::For(Duration::from_millis(1));
    let records = [
        Record { result_ttl: blink, ..succeeded("result") },
        Record { status_ttl: blink, ..succeeded("record") },
        Record { status_ttl: Retention::For(Duration::from_nanos(1)), ..succeeded("instant") },
    ];
    backend.save(&records).await.unwrap();
    until_async(|| async { load(&backend, "result").await.is_some_and(|record| record.result.is_none()) }).await;
    until_async(|| async { load(&backend, "record").await.is_none() }).await;
    until_async(|| async { load(&backend, "instant").await.is_none() }).await;
    assert_eq!(server.command(&["KEYS", "*"]), "windlass:{results}:s:result");
}

#[tokio::test]
async fn nothing_is_left_but_keys_that_expire() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let waits: Vec<_> = (0..50).map(|number| start_wait(&backend, number)).collect();
    let open_end = start_wait(&backend, "never");
    registered(&server, 51).await;
    let half = Retention::For(Duration::from_secs(1800));
    let records: Vec<_> = (0..100).map(|number| Record { result_ttl: half, ..succeeded(number) }).collect();
    backend.save(&records).await.unwrap();
    for wait in waits {
        told(wait).await;
    }
    registered(&server, 1).await;
    let keys = server.command(&["KEYS", "*"]);
    assert_eq!(keys.lines().count(), 100 + 100 + 1, "records, results and who waits");
    for key in keys.lines() {
        assert!((1..=3_600_000).contains(&pttl(&server, key)), "{key}");
    }
    open_end.abort();
}

#[tokio::test]
async fn bytes_come_back_as_they_were() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let inside = Record { result: Some(every_byte()), ..succeeded("inside") };
    let apart =
        Record { result: Some(every_byte()), result_ttl: Retention::For(Duration::from_secs(9)), ..succeeded("apart") };
    let empty = Record { result: Some(Bytes::new()), ..succeeded("empty") };
    let waits = ["inside", "apart", "empty"].map(|name| start_wait(&backend, name));
    registered(&server, 3).await;
    backend.save(&[inside.clone(), apart.clone(), empty]).await.unwrap();
    let [first, second, third] = waits;
    assert_eq!(told(first).await.result, inside.result);
    assert_eq!(told(second).await.result, apart.result);
    assert_eq!(told(third).await.result, Some(Bytes::new()));
    assert_eq!(load(&backend, "inside").await.unwrap().result, inside.result);
    assert_eq!(load(&backend, "apart").await.unwrap().result, apart.result);
    assert_eq!(load(&backend, "empty").await.unwrap().result, Some(Bytes::new()));
}

#[tokio::test]
async fn what_is_not_kept_is_told_and_removes_what_was() {
    let server = RedisServer::start();
    let backend = connect(config(&server).poll(NEVER)).await;
    backend.save(&[record("a", State::Running, 1)]).await.unwrap();
    let wait = start_wait(&backend, "a");
    registered(&server, 1).await;
    let large = Bytes::from(vec![b'x'; 200 * 1024]);
    let record = Record { status_ttl: Retention::None, result: Some(large.clone()), ..succeeded("a") };
    assert_eq!(backend.save(&[record]).await.unwrap(), [SaveOutcome::Saved]);
    assert_eq!(told(wait).await.result, Some(large));
    assert_eq!(server.command(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_result_that_is_not_kept_is_told() {
    let server = RedisServer::start();
    let backend = connect(config(&server).poll(NEVER)).await;
    let large = Bytes::from(vec![b'x'; 200 * 1024]);
    let waits = ["small", "large"].map(|name| start_wait(&backend, name));
    registered(&server, 2).await;
    let records = [succeeded("small"), Record { result: Some(large.clone()), ..succeeded("large") }];
    let records = records.map(|record| Record { result_ttl: Retention::None, ..record });
    backend.save(&records).await.unwrap();
    let [small_wait, large_wait] = waits;
    assert_eq!(told(small_wait).await.result.as_deref(), Some(&b"5"[..]));
    assert_eq!(told(large_wait).await.result, Some(large));
    assert_eq!(server.command(&["DBSIZE"]), "2");
    assert_eq!(load(&backend, "small").await.unwrap().result, None);
}

#[tokio::test]
async fn forgetting_removes_record_and_result() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let apart = Record { result_ttl: Retention::For(Duration::from_secs(9)), ..succeeded("a") };
    backend.save(&[apart, succeeded("b")]).await.unwrap();
    assert_eq!(server.command(&["DBSIZE"]), "3");
    backend.forget(&[id("a"), id("b"), id("unknown")]).await.unwrap();
    assert_eq!(server.command(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn batches_of_any_size() {
    let server = RedisServer::start();
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
    assert!(backend.save(&[]).await.unwrap().is_empty());
    assert!(backend.load(&[]).await.unwrap().is_empty());
    backend.forget(&[]).await.unwrap();
}

#[tokio::test]
async fn nobody_waits_and_nothing_is_published() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("warm")]).await.unwrap();
    server.command(&["CONFIG", "RESETSTAT"]);
    let records: Vec<_> = (0..100).map(succeeded).collect();
    backend.save(&records).await.unwrap();
    assert_eq!(calls(&server, "evalsha"), 1, "one call a batch");
    assert_eq!((calls(&server, "mget"), calls(&server, "set"), calls(&server, "hlen")), (1, 100, 1));
    assert_eq!((calls(&server, "publish"), calls(&server, "hmget"), calls(&server, "hdel")), (0, 0, 0));
    let wait = start_wait(&backend, "a");
    registered(&server, 1).await;
    backend.save(&[succeeded("a"), succeeded("b")]).await.unwrap();
    told(wait).await;
    assert_eq!(calls(&server, "publish"), 1, "only for the one that is waited for");
}

#[tokio::test]
async fn flushed_scripts_are_given_again() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    for round in 0..10 {
        server.command(&["SCRIPT", "FLUSH"]);
        let wait = start_wait(&backend, round);
        registered(&server, 1).await;
        server.command(&["SCRIPT", "FLUSH"]);
        backend.save(&[succeeded(round)]).await.unwrap();
        told(wait).await;
    }
}

#[tokio::test]
async fn a_full_server_refuses_and_recovers() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("before")]).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = backend.save(&[succeeded("a"), succeeded("b")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, true), "{error}");
    assert!(error.message().starts_with("OOM"), "{error}");
    assert_eq!(load(&backend, "a").await, None, "nothing was applied");
    // Those who wait for what is stored are answered all the same, also beside one who is not.
    let waits = ["open", "late"].map(|name| start_wait(&backend, name));
    server.command(&["RENAME", "windlass:{results}:s:before", "windlass:{results}:s:late"]);
    let [open, late] = waits;
    told(late).await;
    open.abort();
    backend.forget(&[id("late")]).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    backend.save(&[succeeded("a"), succeeded("b")]).await.unwrap();
}

#[tokio::test]
async fn foreign_bytes_are_named() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    server.command(&["SET", "windlass:{results}:s:a", "1 2 succeeded"]);
    let error = backend.load(&[id("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.task_id()), (ErrorKind::Codec, Some(&id("a"))));
    assert_eq!(backend.save(&[succeeded("a")]).await.unwrap(), [SaveOutcome::Saved], "what is broken is replaced");
    server.command(&["SET", "windlass:{results}:s:a", "2 7 succeeded of a newer version"]);
    assert_eq!(backend.save(&[succeeded("a")]).await.unwrap(), [SaveOutcome::Refused]);
}

#[tokio::test]
async fn prefixes_and_databases_keep_applications_apart() {
    let server = RedisServer::start();
    let one = connect(config(&server)).await;
    let other = connect(config(&server).prefix("other")).await;
    let third = connect(RedisBackendConfig::new(format!("{}/3", server.url()))).await;
    one.save(&[Record { status_ttl: HOUR, ..succeeded("a") }]).await.unwrap();
    assert!(load(&one, "a").await.is_some());
    assert_eq!(load(&other, "a").await, None);
    assert_eq!(load(&third, "a").await, None);
}
