//! What goes wrong with a server and the way to it.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use windlass_backend_postgres::{PostgresBackend, PostgresBackendConfig};
use windlass_core::{Backend, ErrorKind, SaveOutcome, State};
use windlass_testing::servers::{Fault, FaultProxy, PostgresServer};

use crate::support::{
    Database, at, config, connect, id, listening, load, over, pool, record, start_wait, succeeded, told, until,
    until_async,
};

const SHORT: Duration = Duration::from_millis(500);

fn through(server: &Database, proxy: &FaultProxy) -> PostgresBackendConfig {
    at(server.at(("127.0.0.1", proxy.port())), config(server)).operation_timeout(SHORT)
}

/// Saves and waits over a restart; both must go on within 5 s of the server's return.
async fn over_a_restart(restart: fn(&mut PostgresServer)) {
    let mut server = PostgresServer::start();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("before")]).await.expect("the server runs");
    let wait = start_wait(&backend, "after");
    listening(&server, 1).await;
    let restarted = tokio::task::spawn_blocking(move || {
        restart(&mut server);
        server
    });
    let mut number = 0;
    while !restarted.is_finished() {
        number += 1;
        if let Err(error) = backend.save(&[succeeded(number)]).await {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown) && error.is_retryable(), "{error}");
        }
    }
    let _server = restarted.await.expect("it starts again");
    let back = Instant::now();
    until_async(|| async { backend.save(&[succeeded("after")]).await.is_ok() }).await;
    told(wait).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    assert!(load(&backend, "before").await.is_some());
}

#[tokio::test]
async fn fault_88_restart_fast() {
    over_a_restart(PostgresServer::restart_fast).await;
}

#[tokio::test]
async fn fault_88_restart_immediate() {
    over_a_restart(PostgresServer::restart).await;
}

#[tokio::test]
async fn fault_89_an_exhausted_pool_holds_up_reading_and_nothing_else() {
    let server = Database::new();
    let pool = pool(&server, 2).await;
    let settings = config(&server).operation_timeout(SHORT);
    let backend = over(pool.clone(), settings).await;
    let held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let error = backend.load(&[id("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(
        error.to_string().contains("no connection in 50") && error.to_string().contains("ms (2 of 2 in use)"),
        "{error}"
    );
    assert_eq!(backend.save(&[succeeded("a")]).await.unwrap(), [SaveOutcome::Saved]);
    let wait = start_wait(&backend, "a");
    drop(held);
    told(wait).await;
}

#[tokio::test]
async fn fault_89_many_callers_share_few_connections() {
    let server = Database::new();
    let backend = connect(config(&server).max_connections(4)).await;
    let saves = (0..100).map(|number| {
        let backend = Arc::clone(&backend);
        tokio::spawn(async move { backend.save(&[succeeded(number)]).await })
    });
    for save in saves.collect::<Vec<_>>() {
        save.await.unwrap().unwrap();
    }
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'windlass' AND datname = current_database()";
    let count = server.sql(sql);
    assert!(count.parse::<u32>().unwrap() <= 4, "{count}");
}

#[tokio::test]
async fn fault_90_conflicts_are_repeated() {
    let server = Database::new();
    server.set("default_transaction_isolation = serializable");
    let backend = connect(config(&server)).await;
    for round in 0..20 {
        let batch = |token| (0..50).map(move |number| record(format!("{round}-{number}"), State::Running, token));
        let saves = (1..=4).map(|token| {
            let (backend, mut records) = (Arc::clone(&backend), batch(token).collect::<Vec<_>>());
            // In another order each: what locks rows in the order given would lock itself out.
            records.rotate_left(token as usize * 11);
            tokio::spawn(async move { backend.save(&records).await })
        });
        for save in saves.collect::<Vec<_>>() {
            save.await.unwrap().unwrap();
        }
        assert_eq!(load(&backend, format!("{round}-7")).await.unwrap().token.0, 4);
    }
    let sql = "SELECT xact_rollback > 0 FROM pg_stat_database WHERE datname = current_database()";
    until(|| server.sql(sql) == "t").await;
    assert_eq!(server.deadlocks(), 0);
}

#[tokio::test]
async fn fault_91_a_server_that_only_reads_is_said_so_and_left() {
    let server = PostgresServer::start();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("a")]).await.unwrap();
    // For new connections; the old ones are ended, as by a failover.
    server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on");
    server.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'windlass'");
    let error = backend.save(&[succeeded("b")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, true), "{error}");
    assert!(error.to_string().contains("sqlstate: 25006"), "{error}");
    assert!(load(&backend, "a").await.is_some());
    told(start_wait(&backend, "a")).await;
    // A connection that was opened before would still be read-only.
    server.sql("SET default_transaction_read_only = off; ALTER DATABASE postgres RESET default_transaction_read_only");
    backend.save(&[succeeded("b")]).await.unwrap();
}

#[tokio::test]
async fn fault_91_a_server_without_room_for_connections_is_away() {
    let server = PostgresServer::builder().arg("max_connections=6").start();
    let backend = PostgresBackend::open(config(&server).operation_timeout(SHORT)).unwrap();
    backend.ready().await.unwrap();
    let all = pool(&server, 6).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(all.acquire().await.unwrap());
    }
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("too many clients") && error.to_string().contains("sqlstate: 53300"), "{error}");
    for one in held {
        one.close().await.unwrap();
    }
    until_async(|| async { backend.save(&[succeeded("a")]).await.is_ok() }).await;
}

#[tokio::test]
async fn fault_92_a_connection_that_is_cut_in_commit_is_made_up_for() {
    let server = Database::new();
    let proxy = FaultProxy::start(server.port());
    for pooler in [false, true] {
        let name = format!("pooler-{pooler}");
        let settings = through(&server, &proxy).operation_timeout(Duration::from_secs(10)).pooler(pooler);
        let backend = connect(settings).await;
        backend.save(&[succeeded("warm")]).await.unwrap();
        // Behind a pooler, the statement before the commit waits for its answer too.
        if pooler {
            proxy.cut();
            backend.save(&[succeeded(&name)]).await.unwrap();
            continue;
        }
        proxy.set(Fault::LoseAnswers);
        let save = {
            let (backend, name) = (Arc::clone(&backend), name.clone());
            tokio::spawn(async move { backend.save(&[succeeded(name)]).await })
        };
        let sql = format!("SELECT count(*) FROM windlass.result WHERE id = '{name}'");
        until(|| server.sql(&sql) == "1").await;
        proxy.set(Fault::Pass);
        assert_eq!(save.await.unwrap().unwrap(), [SaveOutcome::Saved], "repeated by itself");
    }
}

#[tokio::test]
async fn fault_92_without_an_answer_the_outcome_is_unknown() {
    let server = Database::new();
    let proxy = FaultProxy::start(server.port());
    let backend = connect(through(&server, &proxy)).await;
    backend.save(&[succeeded("warm")]).await.unwrap();
    proxy.set(Fault::LoseAnswers);
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", proxy.port())), "{error}");
    assert_eq!(server.sql("SELECT count(*) FROM windlass.result WHERE id = 'a'"), "1", "it was applied");
    let error = backend.load(&[id("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    proxy.set(Fault::Pass);
    until_async(|| async { backend.save(&[succeeded("a")]).await.is_ok_and(|saved| saved == [SaveOutcome::Saved]) })
        .await;
}

#[tokio::test]
async fn a_stopped_server_is_given_up_in_time() {
    let server = PostgresServer::start();
    let backend = connect(config(&server).operation_timeout(SHORT)).await;
    server.stop();
    let start = Instant::now();
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(start.elapsed() < SHORT * 6, "{:?}", start.elapsed());
    server.cont();
    until_async(|| async { backend.save(&[succeeded("a")]).await.is_ok() }).await;
}

#[tokio::test]
async fn fault_93_a_lock_is_not_waited_for_for_long() {
    let server = Database::new();
    let pool = pool(&server, 1).await;
    for pooler in [false, true] {
        let backend = connect(config(&server).operation_timeout(Duration::from_secs(1)).pooler(pooler)).await;
        let mut lock = pool.begin().await.unwrap();
        sqlx::raw_sql("LOCK TABLE windlass.result IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
        let error = backend.save(&[succeeded("a")]).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert!(error.to_string().contains("sqlstate: 55P03"), "{error}");
        lock.rollback().await.unwrap();
        backend.save(&[succeeded("a")]).await.unwrap();
    }
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    assert_eq!(server.sql(sql), "0");
}

/// Polls `work` that many times, with time to go on in between, and drops it.
async fn dropped_after(polls: usize, work: impl Future) -> bool {
    let mut work = std::pin::pin!(work);
    for _ in 0..polls {
        if std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn fault_96_calls_that_are_dropped_halfway_leave_no_transaction_and_no_lost_connection() {
    let server = Database::new();
    let pool = pool(&server, 2).await;
    let backends = [
        connect(config(&server).max_connections(4)).await,
        connect(config(&server).max_connections(4).pooler(true)).await,
        over(pool, config(&server)).await,
    ];
    for (number, backend) in backends.iter().enumerate() {
        for polls in 0..60 {
            let name = format!("{number}-{polls}");
            dropped_after(polls, backend.save(&[succeeded(&name)])).await;
            dropped_after(polls, backend.load(&[id(&name)])).await;
            dropped_after(polls, backend.forget(&[id("other")])).await;
            dropped_after(polls, backend.wait(&id(&name), SHORT)).await;
        }
        backend.save(&[succeeded("a")]).await.unwrap();
        assert!(load(backend, "a").await.is_some());
    }
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    until(|| server.sql(sql) == "0").await;
}

#[tokio::test]
async fn fault_96_what_somebody_left_in_a_transaction_of_the_pool_takes_no_result_with_it() {
    let server = Database::new();
    let pool = pool(&server, 1).await;
    let backend = over(pool.clone(), config(&server)).await;
    // What a dropped `begin` of the driver can leave behind.
    sqlx::raw_sql("BEGIN").execute(&pool).await.unwrap();
    backend.save(&[succeeded("a")]).await.unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM windlass.result"), "1", "committed");
    // An error in it makes everything after it fail, until the connection is replaced.
    sqlx::raw_sql("SELECT 1 / 0").execute(&pool).await.unwrap_err();
    assert!(load(&backend, "a").await.is_some());
}
