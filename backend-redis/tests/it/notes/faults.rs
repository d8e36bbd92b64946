//! How the notebook bears the faults of Redis.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use windlass_backend_redis::RedisBackendConfig;
use windlass_core::{Backend, ErrorKind, Expected, Note, Notebook, WriteOutcome};
use windlass_testing::servers::{Fault, FaultProxy, RedisServer};

use super::*;
use crate::support::{HOUR, config, connect, until, until_async};

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    for round in 0..3 {
        server.command(&["SCRIPT", "FLUSH"]);
        version(write_one(&backend, put(round, Expected::Absent, "x", HOUR)).await);
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(backend.gather(&[place("s", round, Duration::from_secs(60))]).await.unwrap(), [round + 1]);
        server.command(&["SCRIPT", "FLUSH"]);
        server.command(&["ZADD", SHELF, "0", "gone"]);
        assert_eq!(names(&backend, 10).await.0.len(), 1 + round as usize);
    }
}

#[tokio::test]
async fn a_foreign_key_refuses_the_whole_batch() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let changes = [put("a", Expected::Anything, "1", HOUR), put("b", Expected::Anything, "2", HOUR)];
    for foreign in [note_of("b").as_str(), SHELF, ENDS, "windlass:{results}:versions"] {
        server.command(&["HSET", foreign, "x", "y"]);
        let error = backend.write(&changes).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, false), "{foreign}: {error}");
        assert!(error.message().starts_with("WRONGTYPE"), "{error}");
        assert_eq!(server.command(&["DBSIZE"]), "1", "{foreign}: nothing was done");
        server.command(&["DEL", foreign]);
    }
    server.command(&["SET", "windlass:{results}:set:test:t", "x"]);
    let places = ["s", "t"].map(|name| place(name, 0, Duration::from_secs(60)));
    let error = backend.gather(&places).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert_eq!(server.command(&["DBSIZE"]), "1", "nothing was done");
    // A string that is no note is never taken for one, and can be replaced.
    server.command(&["SET", &note_of("a"), "no note"]);
    assert_eq!(backend.read(&[key("a")]).await.unwrap_err().kind(), ErrorKind::Codec);
    for expected in [Expected::Absent, Expected::Version(0)] {
        assert_eq!(write_one(&backend, put("a", expected, "1", HOUR)).await, WriteOutcome::Conflict);
    }
    version(write_one(&backend, put("a", Expected::Anything, "1", HOUR)).await);
    assert!(read_one(&backend, "a").await.is_some());
}

#[tokio::test]
async fn a_full_server_refuses_as_a_whole_and_still_removes() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let anything = |name: &str| put(name, Expected::Anything, "new", HOUR);
    write_one(&backend, put("a", Expected::Absent, "old", HOUR)).await;
    backend.gather(&[place("s", 0, Duration::from_secs(60))]).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for changes in [vec![anything("b"), anything("c")], vec![remove("a"), anything("b")], vec![anything("a")]] {
        let error = backend.write(&changes).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, true), "{error}");
        assert_eq!(names(&backend, 10).await.0, ["a"], "nothing was done");
    }
    let places = [place("s", 1, Duration::from_secs(60)), place("t", 0, Duration::from_secs(60))];
    assert_eq!(backend.gather(&places).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(backend.gathered(&key("s"), 0..2).await.unwrap(), [Some("value 0".into()), None]);
    assert_eq!(read_one(&backend, "a").await.map(|note| note.value), Some("old".into()));
    assert_eq!(write_one(&backend, remove("a")).await, WriteOutcome::Written(0));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(names(&backend, 10).await, (vec![], None));
    version(write_one(&backend, anything("b")).await);
}

#[tokio::test]
async fn a_replica_can_be_read_and_listed() {
    let primary = RedisServer::start();
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    server.command(&["SET", &note_of("a"), "7\nx"]);
    server.command(&["ZADD", SHELF, "0", "a", "0", "gone"]);
    server.command(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]);
    primary.stop();
    server.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    let page = backend.list("test", None, 10).await.unwrap();
    primary.cont();
    assert_eq!(page.notes, [("a".to_owned(), Note { version: 7, value: "x".into() })]);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_can_be_a_conflict_with_itself() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let short = Duration::from_millis(300);
    let settings = RedisBackendConfig::new(proxy.url("redis")).operation_timeout(short).connect_timeout(short);
    let backend = connect(settings).await;
    write_one(&backend, put("warm", Expected::Absent, "x", HOUR)).await;
    backend.gather(&[place("s", 0, Duration::from_secs(60))]).await.unwrap();
    proxy.set(Fault::LoseAnswers);
    let change = put("a", Expected::Absent, "mine", HOUR);
    let error = backend.write(std::slice::from_ref(&change)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
    until(|| server.command(&["EXISTS", &note_of("a")]) == "1").await;
    proxy.set(Fault::Pass);
    let outcome = std::cell::Cell::new(None);
    until_async(|| async {
        let written = backend.write(std::slice::from_ref(&change)).await;
        written.map(|written| outcome.set(Some(written[0]))).is_ok()
    })
    .await;
    assert_eq!(outcome.get(), Some(WriteOutcome::Conflict));
    proxy.set(Fault::LoseAnswers);
    let more = place("s", 1, Duration::from_secs(60));
    assert_eq!(backend.gather(std::slice::from_ref(&more)).await.unwrap_err().kind(), ErrorKind::Unknown);
    until(|| server.command(&["HLEN", "windlass:{results}:set:test:s"]) == "2").await;
    proxy.set(Fault::Pass);
    let counts = std::cell::RefCell::new(Vec::new());
    until_async(|| async {
        let filled = backend.gather(std::slice::from_ref(&more)).await;
        filled.map(|filled| *counts.borrow_mut() = filled).is_ok()
    })
    .await;
    assert_eq!(counts.into_inner(), [2], "repeated, it changes nothing and answers the same");
}

#[tokio::test]
async fn after_the_end_everything_is_closed() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    write_one(&backend, put("a", Expected::Absent, "x", HOUR)).await;
    let mut listener = backend.listen("t").await.unwrap();
    let listening = tokio::spawn(async move { (listener.next().await, listener.next().await) });
    backend.close().await;
    let (first, second) = listening.await.unwrap();
    let kinds: HashSet<_> = [
        first.map(|_| ()),
        second.map(|_| ()),
        backend.read(&[key("a")]).await.map(|_| ()),
        backend.write(&[remove("a")]).await.map(|_| ()),
        backend.list("test", None, 1).await.map(|_| ()),
        backend.gather(&[place("s", 0, Duration::from_secs(1))]).await.map(|_| ()),
        backend.gathered(&key("s"), 0..1).await.map(|_| ()),
        backend.signal("t", Bytes::new()).await,
        backend.listen("t").await.map(|_| ()),
    ]
    .map(|answer| format!("{:?}", answer.expect_err("closed").kind()))
    .into();
    assert_eq!(kinds, HashSet::from(["Closed".to_owned()]));
}
