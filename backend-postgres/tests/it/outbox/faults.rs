//! Outages of the broker and of Postgres, and a Postgres that is in the way.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::ErrorKind;
use windlass_testing::conformance::eventually;
use windlass_testing::fault::{BrokerCall, FaultyBroker};
use windlass_testing::servers::PostgresServer;

use super::{PATIENCE, Scene, config, payloads};

#[tokio::test]
async fn a_relay_outlives_an_outage_of_the_broker() {
    let scene = Scene::new().await;
    let broker = Arc::new(FaultyBroker::new(Arc::new(scene.broker.clone())));
    broker.outage(true);
    let relay = scene.relay_to(Arc::clone(&broker) as _);
    scene.commit(&scene.messages(3)).await;
    // Longer than the claim, which it renews.
    let tried = || async { (broker.calls(BrokerCall::Publish) >= 6).then_some(()) };
    eventually("it tries again and again", PATIENCE, tried).await;
    assert_eq!(scene.outbox.stats().await.unwrap().pending, 3);
    assert_eq!(scene.outbox.stats().await.unwrap().stuck, 0, "an outage is no refusal");
    broker.outage(false);
    assert_eq!(payloads(&scene.arrived(3).await), ["0", "1", "2"]);
    assert_eq!(relay.stop().await.to_string(), "3 published");
}

#[tokio::test]
async fn a_publish_without_an_answer_is_repeated_and_enqueues_once() {
    for kind in [None, Some(ErrorKind::Unknown), Some(ErrorKind::Unavailable)] {
        let scene = Scene::new().await;
        let broker = Arc::new(FaultyBroker::new(Arc::new(scene.broker.clone())));
        match kind {
            Some(kind) => broker.fail_before(BrokerCall::Publish, 1, kind),
            None => broker.fail_after(BrokerCall::Publish, 1),
        }
        scene.commit(&scene.messages(3)).await;
        let relay = scene.relay_to(broker);
        scene.emptied().await;
        let report = relay.stop().await;
        assert_eq!(report.duplicates, if kind.is_none() { 3 } else { 0 });
        scene.arrived(3).await;
    }
}

#[tokio::test]
async fn fault_088_postgres_restarts_under_the_relay() {
    let mut server = PostgresServer::builder().durable(true).start();
    let scene = Scene::with(&server, config()).await;
    let relay = scene.relay();
    scene.commit(&scene.messages(1)).await;
    scene.arrived(1).await;
    for (count, immediate) in [(2, true), (3, false)] {
        if immediate {
            server.kill();
            server.restart();
        } else {
            server.restart_fast();
        }
        let written = || async {
            let mut transaction = scene.pool.begin().await.ok()?;
            scene.outbox.write(&mut *transaction, &scene.messages(1)).await.ok()?;
            transaction.commit().await.ok()
        };
        eventually("it can be written again", PATIENCE, written).await;
        scene.arrived(count).await;
    }
    relay.stop().await;
}

#[tokio::test]
async fn fault_090_serializable_by_default() {
    let server = PostgresServer::builder().arg("default_transaction_isolation=serializable").start();
    let scene = Scene::with(&server, config()).await;
    let relays: Vec<_> = (0..3).map(|_| scene.relay()).collect();
    for batch in scene.messages(2000).chunks(20) {
        let written = || async {
            let mut transaction = scene.pool.begin().await.ok()?;
            scene.outbox.write(&mut *transaction, batch).await.ok()?;
            transaction.commit().await.ok()
        };
        eventually("the application repeats what could not be serialized", PATIENCE, written).await;
    }
    scene.arrived(2000).await;
    scene.emptied().await;
    for relay in relays {
        relay.stop().await;
    }
    scene.arrived(2000).await;
}

#[tokio::test]
async fn fault_093_a_locked_table_holds_a_relay_up_and_no_longer() {
    let scene = Scene::new().await;
    scene.commit(&scene.messages(1)).await;
    let mut lock = scene.pool.begin().await.unwrap();
    let statement = format!("LOCK TABLE {}.outbox", scene.outbox.config().schema);
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *lock).await.unwrap();
    let relay = scene.relay();
    // Its statement waits for the lock and gives up after a while, again and again.
    let error = scene.outbox.stats().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("sqlstate: 55P03"), "{error}");
    lock.commit().await.unwrap();
    scene.arrived(1).await;
    relay.stop().await;
}

#[tokio::test]
async fn fault_089_a_pool_that_is_used_up_does_not_hold_a_relay_up() {
    let scene = Scene::new().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(scene.pool.acquire().await.unwrap());
    }
    let relay = scene.relay();
    scene.outbox.write(&mut *held[0], &scene.messages(1)).await.unwrap();
    scene.arrived(1).await;
    relay.stop().await;
}

#[tokio::test]
async fn fault_096_a_relay_that_is_dropped_leaves_no_transaction_behind() {
    for pooler in [false, true] {
        let scene = Scene::with(&super::SERVER, config().pooler(pooler).poll(Duration::from_millis(100))).await;
        for round in 0..40 {
            let relay = scene.relay();
            scene.commit(&scene.messages(5)).await;
            // Wherever it is by then.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            relay.kill();
        }
        let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND query LIKE $1";
        let schema = format!("%{}%", scene.outbox.config().schema);
        let closed = || async {
            let open: i64 = sqlx::query_scalar(open).bind(&schema).fetch_one(&scene.pool).await.ok()?;
            (open == 0).then_some(())
        };
        eventually("no transaction is open", PATIENCE, closed).await;
        let relay = scene.relay();
        scene.emptied().await;
        relay.stop().await;
        scene.arrived(200).await;
    }
}

#[test]
fn a_relay_may_end_with_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (scene, relays) = runtime.block_on(async {
        let scene = Scene::new().await;
        let relays = [scene.relay(), scene.relay()];
        scene.commit(&scene.messages(1)).await;
        scene.arrived(1).await;
        scene.pool.close().await;
        (scene, relays)
    });
    drop(runtime);
    assert!(relays.iter().all(|relay| relay.task.is_finished()));
    assert_eq!(scene.broker.counts().queued, 1);
}
