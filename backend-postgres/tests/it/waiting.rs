//! Waiting for the end of tasks: pushed, looked up, missed and found.

use std::time::{Duration, Instant};

use windlass_core::{Backend, ErrorKind, State};
use windlass_testing::servers::PostgresServer;

use crate::support::{
    Database, LISTENERS, NEVER, PATIENCE, config, connect, id, listening, record, start_wait, succeeded, told, until,
};

#[tokio::test]
async fn a_wait_is_woken_by_another_process() {
    let server = Database::new();
    let (waiter, worker) = (connect(config(&server).poll(NEVER)).await, connect(config(&server)).await);
    let wait = start_wait(&waiter, "a");
    listening(&server, 1).await;
    worker.save(&[record("a", State::Running, 1)]).await.unwrap();
    worker.save(&[succeeded("a")]).await.unwrap();
    assert_eq!(told(wait).await.result.as_deref(), Some(&b"5"[..]));
}

#[tokio::test]
async fn later_waits_need_no_more_than_one_look() {
    let server = Database::new();
    let backend = connect(config(&server).poll(NEVER)).await;
    let _open = start_wait(&backend, "open");
    listening(&server, 1).await;
    let waits: Vec<_> = (0..500).map(|number| start_wait(&backend, number)).collect();
    let records: Vec<_> = (0..500).map(succeeded).collect();
    for batch in records.chunks(7) {
        backend.save(batch).await.unwrap();
    }
    for wait in waits {
        told(wait).await;
    }
}

#[tokio::test]
async fn behind_a_pooler_nobody_listens_and_polling_finds_the_end() {
    let server = Database::new();
    let backend = connect(config(&server).pooler(true)).await;
    assert!(!backend.capabilities().push);
    let wait = start_wait(&backend, "a");
    until(|| server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'windlass' AND datname = current_database()") != "0").await;
    backend.save(&[succeeded("a")]).await.unwrap();
    told(wait).await;
    assert_eq!(server.sql("SELECT count(*) FROM windlass.listener"), "0");
    assert_eq!(server.sql(LISTENERS), "0");
}

#[tokio::test]
async fn a_wait_of_no_time_only_looks() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    assert_eq!(backend.wait(&id("a"), Duration::ZERO).await.unwrap(), None);
    backend.save(&[succeeded("a"), record("b", State::Running, 1)]).await.unwrap();
    assert!(backend.wait(&id("a"), Duration::ZERO).await.unwrap().is_some());
    assert_eq!(backend.wait(&id("b"), Duration::ZERO).await.unwrap(), None);
    assert_eq!(server.sql("SELECT count(*) FROM windlass.listener"), "0");
}

#[tokio::test]
async fn fault_97_a_listener_that_was_killed_is_replaced() {
    let server = Database::new();
    let backend = connect(config(&server).poll(NEVER)).await;
    let (before, after) = (start_wait(&backend, "before"), start_wait(&backend, "after"));
    listening(&server, 1).await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    assert_eq!(server.sql(kill), "1");
    // Announced to nobody, or to the connection that just ended: what it was is looked up again.
    backend.save(&[succeeded("before")]).await.unwrap();
    told(before).await;
    listening(&server, 1).await;
    backend.save(&[succeeded("after")]).await.unwrap();
    told(after).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let mut server = PostgresServer::start();
    let backend = connect(config(&server).operation_timeout(Duration::from_millis(300))).await;
    let wait = start_wait(&backend, "a");
    listening(&server, 1).await;
    server.kill();
    let start = Instant::now();
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port())), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(backend.wait(&id("b"), Duration::ZERO).await.unwrap(), None);
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let _server = server.await.unwrap();
    crate::support::until_async(|| async { backend.save(&[succeeded("a")]).await.is_ok() }).await;
    told(wait).await;
}

#[test]
fn an_application_that_is_blocked_does_not_block_the_connections() {
    let server = Database::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let backend = connect(config(&server)).await;
        let saved = std::sync::Arc::clone(&backend);
        let save = tokio::spawn(async move { saved.save(&[succeeded("a")]).await });
        // Begun, and then this runtime is blocked until the server has it.
        tokio::task::yield_now().await;
        let end = Instant::now() + PATIENCE;
        while server.sql("SELECT count(*) FROM windlass.result") != "1" {
            assert!(Instant::now() < end, "it was not saved");
        }
        save.await.unwrap().unwrap();
    });
}
