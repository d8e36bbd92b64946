//! Waits: pushed, polled, ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use windlass_core::{Backend, ErrorKind, Record, Retention, State};
use windlass_testing::servers::RedisServer;

use crate::support::{
    NEVER, PATIENCE, calls, config, connect, id, record, registered, start_wait, succeeded, told, until,
};

#[tokio::test]
async fn ends_are_pushed() {
    let server = RedisServer::start();
    let [worker, client] = [connect(config(&server)).await, connect(config(&server).poll(NEVER)).await];
    for state in State::ALL.into_iter().filter(|state| state.is_final()) {
        let wait = start_wait(&client, state);
        registered(&server, 1).await;
        let saved = record(state, state, 1);
        worker.save(std::slice::from_ref(&saved)).await.unwrap();
        let heard = told(wait).await;
        assert_eq!((heard.state, heard.result), (state, saved.result));
        registered(&server, 0).await;
    }
}

#[tokio::test]
async fn what_has_ended_is_told_at_once() {
    let server = RedisServer::start();
    let backend = connect(config(&server).poll(NEVER)).await;
    let apart = Record { result_ttl: Retention::For(Duration::from_secs(60)), ..succeeded("apart") };
    let large = Record { result: Some(vec![7; 1024 * 1024].into()), ..succeeded("large") };
    let bare = Record { result_ttl: Retention::None, ..succeeded("bare") };
    backend.save(&[succeeded("small"), apart, large, bare]).await.unwrap();
    assert_eq!(told(start_wait(&backend, "small")).await.result.as_deref(), Some(&b"5"[..]));
    assert_eq!(told(start_wait(&backend, "apart")).await.result.as_deref(), Some(&b"5"[..]));
    assert_eq!(told(start_wait(&backend, "large")).await.result, Some(vec![7; 1024 * 1024].into()));
    assert_eq!(told(start_wait(&backend, "bare")).await.result, None);
    assert_eq!(server.command(&["HLEN", "windlass:{results}:waiters"]), "0");
}

#[tokio::test]
async fn a_large_result_is_announced_and_loaded() {
    let server = RedisServer::start();
    let backend = connect(config(&server).poll(NEVER)).await;
    let large: Bytes = (0..1024 * 1024).map(|number: u32| number.to_le_bytes()[1]).collect();
    let apart =
        Record { result: Some(large.clone()), result_ttl: Retention::For(Duration::from_secs(60)), ..succeeded("b") };
    let waits = ["a", "b"].map(|name| start_wait(&backend, name));
    registered(&server, 2).await;
    backend.save(&[Record { result: Some(large.clone()), ..succeeded("a") }, apart]).await.unwrap();
    for wait in waits {
        assert_eq!(told(wait).await.result, Some(large.clone()));
    }
}

#[tokio::test]
async fn only_an_end_ends_a_wait() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let wait = start_wait(&backend, "a");
    registered(&server, 1).await;
    for state in State::ALL.into_iter().filter(|state| !state.is_final()) {
        backend.save(&[record("a", state, 1)]).await.unwrap();
        server.command(&["CONFIG", "RESETSTAT"]);
        // Two polls have seen it.
        until(|| calls(&server, "evalsha") >= 2).await;
        assert!(!wait.is_finished(), "{state}");
    }
    backend.save(&[record("a", State::Failed, 1)]).await.unwrap();
    assert_eq!(told(wait).await.state, State::Failed);
}

#[tokio::test]
async fn many_waits_share_calls_and_one_connection() {
    let server = RedisServer::start();
    let backend = connect(config(&server).poll(NEVER)).await;
    // Before that, the inbox is heard and the script is known.
    told({
        let wait = start_wait(&backend, "first");
        registered(&server, 1).await;
        backend.save(&[succeeded("first")]).await.unwrap();
        wait
    })
    .await;
    server.command(&["CONFIG", "RESETSTAT"]);
    server.stop();
    let waits: Vec<_> = (0..2000).map(|number| start_wait(&backend, number % 1000)).collect();
    until(|| format!("{backend:?}").contains("waiting: 1000")).await;
    server.cont();
    registered(&server, 1000).await;
    assert!(calls(&server, "evalsha") <= 3, "the first, and then 500 in each: {}", calls(&server, "evalsha"));
    assert_eq!(server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count(), 1);
    let records: Vec<_> = (0..1000).map(succeeded).collect();
    backend.save(&records).await.unwrap();
    for wait in waits {
        told(wait).await;
    }
    registered(&server, 0).await;
}

#[tokio::test]
async fn every_process_that_waits_is_told() {
    let server = RedisServer::start();
    let mut waits = Vec::new();
    let mut backends = Vec::new();
    for _ in 0..5 {
        let backend = connect(config(&server).poll(NEVER)).await;
        waits.push(start_wait(&backend, "a"));
        backends.push(backend);
    }
    let inboxes = || server.command(&["HGET", "windlass:{results}:waiters", "a"]);
    until(|| inboxes().split(' ').filter(|name| name.len() == 16).count() == 5).await;
    backends[0].save(&[succeeded("a")]).await.unwrap();
    for wait in waits {
        told(wait).await;
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_nothing() {
    let server = RedisServer::start();
    let [stays, leaves] = [connect(config(&server)).await, connect(config(&server)).await];
    let (first, second) = (start_wait(&stays, "a"), start_wait(&leaves, "a"));
    let third = start_wait(&leaves, "b");
    let names = || server.command(&["HGET", "windlass:{results}:waiters", "a"]).split(' ').count();
    registered(&server, 2).await;
    until(|| names() == 2).await;
    assert!(format!("{leaves:?}").contains("waiting: 2"), "{leaves:?}");
    second.abort();
    third.abort();
    until(|| format!("{leaves:?}").contains("waiting: 0")).await;
    registered(&server, 1).await;
    until(|| names() == 1).await;
    stays.save(&[succeeded("a")]).await.unwrap();
    told(first).await;
}

#[tokio::test]
async fn the_time_is_kept() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let start = Instant::now();
    assert_eq!(backend.wait(&id("a"), Duration::from_millis(80)).await.unwrap(), None);
    assert!((80..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(backend.wait(&id("a"), Duration::ZERO).await.unwrap(), None);
    backend.save(&[record("r", State::Running, 1), succeeded("a")]).await.unwrap();
    assert_eq!(backend.wait(&id("r"), Duration::ZERO).await.unwrap(), None);
    assert!(backend.wait(&id("a"), Duration::ZERO).await.unwrap().is_some());
    registered(&server, 0).await;
}

#[tokio::test]
async fn nobody_waits_and_nothing_is_asked() {
    let server = RedisServer::start();
    let backend = connect(config(&server).poll(Duration::from_millis(1))).await;
    told({
        let wait = start_wait(&backend, "a");
        registered(&server, 1).await;
        backend.save(&[succeeded("a")]).await.unwrap();
        wait
    })
    .await;
    // An abandoned wait is polled for until it is unregistered; then it is quiet.
    assert_eq!(backend.wait(&id("b"), Duration::from_millis(20)).await.unwrap(), None);
    registered(&server, 0).await;
    // The server says how many seconds ago it heard of each connection; the last is the test's.
    let clients = || server.command(&["CLIENT", "LIST"]);
    until(|| clients().lines().filter(|line| !line.contains(" idle=0 ")).count() == 2).await;
}

#[tokio::test]
async fn foreign_bytes_end_only_the_wait_for_them() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    server.command(&["SET", "windlass:{results}:s:broken", "9 1 succeeded"]);
    server.command(&["SET", "windlass:{results}:s:newer", "9 1 succeeded of a newer version"]);
    server.command(&["SADD", "windlass:{results}:s:set", "x"]);
    let newer = start_wait(&backend, "newer");
    let others = ["broken", "set", "good"].map(|name| start_wait(&backend, name));
    let error = newer.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.task_id()), (ErrorKind::Codec, Some(&id("newer"))));
    registered(&server, 3).await;
    backend.save(&["broken", "set", "good"].map(succeeded)).await.unwrap();
    for wait in others {
        told(wait).await;
    }
}

#[tokio::test]
async fn closing_ends_everything() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let waits = ["a", "b"].map(|name| start_wait(&backend, name));
    registered(&server, 2).await;
    backend.close().await;
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(backend.wait(&id("a"), PATIENCE).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(backend.wait(&id("a"), Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(backend.save(&[succeeded("a")]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(backend.load(&[id("a")]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(backend.forget(&[id("a")]).await.unwrap_err().kind(), ErrorKind::Closed);
    backend.close().await;
    until(|| server.command(&["CLIENT", "LIST"]).lines().count() == 1).await;
}

#[tokio::test]
async fn dropping_closes_the_connections() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    backend.wait(&id("a"), Duration::from_millis(20)).await.unwrap();
    until(|| server.command(&["CLIENT", "LIST"]).lines().count() == 3).await;
    drop(backend);
    until(|| server.command(&["CLIENT", "LIST"]).lines().count() == 1).await;
}

#[test]
fn the_caller_needs_neither_clock_nor_network() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let backend = connect(config(&server)).await;
        backend.save(&[succeeded("a")]).await.unwrap();
        assert!(backend.wait(&id("a"), PATIENCE).await.unwrap().is_some());
        assert_eq!(backend.wait(&id("b"), Duration::from_millis(20)).await.unwrap(), None);
        let shared = Arc::clone(&backend);
        let wait = tokio::spawn(async move { shared.wait(&id("c"), PATIENCE).await });
        tokio::task::yield_now().await;
        backend.save(&[succeeded("c")]).await.unwrap();
        assert!(wait.await.unwrap().unwrap().is_some());
    });
}
