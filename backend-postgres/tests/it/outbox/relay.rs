//! Many relays, wake-ups, order and shutdown.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windlass_core::{ErrorKind, Message};
use windlass_testing::conformance::eventually;
use windlass_testing::fault::{BrokerCall, FaultyBroker};
use windlass_testing::fixture;

use super::{PATIENCE, RARELY, SERVER, Scene, config, payloads};

/// Waits until that many connections listen for this outbox.
async fn listening(scene: &Scene, count: i64) {
    let channel = format!("LISTEN \"{}_outbox\"", scene.outbox.config().schema);
    let listening = || async {
        let query = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE query = $1").bind(&channel);
        let found: i64 = query.fetch_one(&scene.pool).await.ok()?;
        (found == count).then_some(())
    };
    eventually("somebody listens", PATIENCE, listening).await;
}

#[tokio::test]
async fn a_commit_wakes_the_relay() {
    let scene = Scene::with(&SERVER, config().poll(RARELY)).await;
    let relay = scene.relay();
    listening(&scene, 1).await;
    for count in 1..=5 {
        let start = Instant::now();
        scene.commit(&scene.messages(1)).await;
        scene.arrived(count).await;
        assert!(start.elapsed() < RARELY / 2);
    }
    relay.stop().await;
}

#[tokio::test]
async fn without_a_ring_the_relay_looks_by_itself() {
    for config in [config().notify(false), config().pooler(true)] {
        let scene = Scene::with(&SERVER, config.poll(Duration::from_millis(200))).await;
        let relay = scene.relay();
        for count in 1..=3 {
            scene.commit(&scene.messages(1)).await;
            scene.arrived(count).await;
        }
        listening(&scene, i64::from(!scene.outbox.config().pooler)).await;
        relay.stop().await;
    }
}

#[tokio::test]
async fn order_is_kept_by_one_relay() {
    let scene = Scene::new().await;
    let messages = scene.messages(2500);
    scene.commit(&messages[..1200]).await;
    scene.commit(&messages[1200..1300]).await;
    for message in &messages[1300..1350] {
        scene.commit(std::slice::from_ref(message)).await;
    }
    scene.commit(&messages[1350..]).await;
    let relay = scene.relay();
    assert_eq!(payloads(&scene.arrived(2500).await), payloads(&messages));
    relay.stop().await;
}

#[tokio::test]
async fn many_relays_publish_each_row_once() {
    let scene = Scene::with(&SERVER, config().lease(RARELY)).await;
    let relays: Vec<_> = (0..4).map(|_| scene.relay()).collect();
    let messages = scene.messages(10_000);
    let batches: Vec<&[Message]> = messages.chunks(250).collect();
    for batches in batches.chunks(4) {
        let mut writes = tokio::task::JoinSet::new();
        for batch in batches {
            let (pool, outbox, batch) = (scene.pool.clone(), scene.outbox.clone(), batch.to_vec());
            writes.spawn(async move {
                let mut transaction = pool.begin().await.unwrap();
                outbox.write(&mut *transaction, &batch).await.unwrap();
                transaction.commit().await.unwrap();
            });
        }
        writes.join_all().await;
    }
    let arrived = scene.arrived(10_000).await;
    scene.emptied().await;
    let (mut published, mut duplicates) = (0, 0);
    for relay in relays {
        let report = relay.stop().await;
        published += report.published;
        duplicates += report.duplicates;
    }
    assert_eq!((published, duplicates), (10_000, 0));
    let ids: HashSet<_> = arrived.iter().map(|message| message.id.clone()).collect();
    assert_eq!(ids.len(), 10_000);
}

#[tokio::test]
async fn a_batch_holds_no_more_bytes_than_a_broker_takes() {
    let scene = Scene::new().await;
    let large = |n: u8| fixture::message(&scene.queue, vec![n; 1024 * 1024]);
    let messages: Vec<Message> = (0..11).map(large).collect();
    scene.commit(&messages).await;
    let broker = Arc::new(FaultyBroker::new(Arc::new(scene.broker.clone())));
    let relay = scene.relay_to(Arc::clone(&broker) as _);
    let arrived = scene.arrived(11).await;
    relay.stop().await;
    assert!(arrived.iter().zip(&messages).all(|(one, other)| one.id == other.id), "in order");
    // Four megabytes hold three of them and their envelopes.
    assert_eq!(broker.calls(BrokerCall::Publish), 4);
}

#[tokio::test]
async fn fault_097_listening_connection_is_lost() {
    let scene = Scene::with(&SERVER, config().poll(RARELY)).await;
    let relay = scene.relay();
    for count in 1..=3 {
        listening(&scene, 1).await;
        let channel = format!("LISTEN \"{}_outbox\"", scene.outbox.config().schema);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1";
        sqlx::query(end).bind(&channel).execute(&scene.pool).await.unwrap();
        // Written while nobody may be listening.
        scene.commit(&scene.messages(1)).await;
        scene.arrived(count).await;
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_dies_between_publish_and_delete_sends_nothing_twice() {
    let scene = Scene::new().await;
    scene.commit(&scene.messages(10)).await;
    let broker = Arc::new(FaultyBroker::new(Arc::new(scene.broker.clone())));
    broker.lose_answer(BrokerCall::Publish, 1);
    let dies = scene.relay_to(broker);
    scene.arrived(10).await;
    dies.kill();
    assert_eq!(scene.outbox.stats().await.unwrap().pending, 10, "nothing is deleted yet");
    let next = scene.relay();
    scene.emptied().await;
    let report = next.stop().await;
    assert_eq!((report.published, report.duplicates), (0, 10));
    scene.arrived(10).await;
}

#[tokio::test]
async fn what_a_relay_has_claimed_is_nobody_elses_for_a_while() {
    let scene = Scene::with(&SERVER, config().lease(RARELY)).await;
    scene.commit(&scene.messages(5)).await;
    let broker = Arc::new(FaultyBroker::new(Arc::new(scene.broker.clone())));
    broker.outage(true);
    let first = scene.relay_to(Arc::clone(&broker) as _);
    let tried = || async { (broker.calls(BrokerCall::Publish) > 0).then_some(()) };
    eventually("it publishes", PATIENCE, tried).await;
    let second = scene.relay();
    scene.commit(&scene.messages(2)).await;
    scene.arrived(2).await;
    assert_eq!(second.stop().await.published, 2);
    assert_eq!(scene.outbox.stats().await.unwrap().pending, 5);
    // Whoever stops gives back at once what is not in the broker.
    first.stop().await;
    let third = scene.relay();
    scene.arrived(7).await;
    assert_eq!(third.stop().await.published, 5);
}

#[tokio::test]
async fn a_relay_stops_after_the_batch_under_way() {
    let scene = Scene::new().await;
    scene.commit(&scene.messages(10)).await;
    let broker = Arc::new(FaultyBroker::new(Arc::new(scene.broker.clone())));
    broker.delay(BrokerCall::Publish, 1, Duration::from_millis(500));
    let relay = scene.relay_to(Arc::clone(&broker) as _);
    let called = || async { (broker.calls(BrokerCall::Publish) > 0).then_some(()) };
    eventually("it publishes", PATIENCE, called).await;
    assert_eq!(relay.stop().await.to_string(), "10 published");
    assert_eq!(scene.outbox.stats().await.unwrap().pending, 0);
}

#[tokio::test]
async fn a_relay_ends_when_the_broker_or_the_pool_is_closed() {
    use windlass_core::Broker as _;
    let scene = Scene::new().await;
    scene.commit(&scene.messages(1)).await;
    scene.broker.close().await;
    let relay = scene.relay();
    let ended = tokio::time::timeout(PATIENCE, relay.task).await.expect("it ends").unwrap();
    assert_eq!(ended.published, 0);
    assert_eq!(scene.outbox.stats().await.unwrap().pending, 1);
    scene.outbox.close();
    let relay = scene.relay();
    tokio::time::timeout(PATIENCE, relay.task).await.expect("it ends").unwrap();
    assert_eq!(scene.outbox.stats().await.unwrap_err().kind(), ErrorKind::Closed);
}
