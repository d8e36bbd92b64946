//! A server that has no room, and keys that are not ours.

use windlass_core::{Broker, Disposition, ErrorKind, LeaseStatus, Progress, Settlement};
use windlass_testing::fixture;
use windlass_testing::servers::RedisServer;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_tasks_are_refused_and_the_others_drain() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 40).await;
    let before = server.command(&["HLEN", &key(&queue, "body")]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = broker.publish(&fixture::messages(&queue, 10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
    assert!(error.to_string().contains("OOM command not allowed"), "{error}");
    assert_eq!(server.command(&["HLEN", &key(&queue, "body")]), before, "nothing was applied");
    let taken = fetch(&broker, &queue, 40).await;
    assert_eq!(taken.len(), 40);
    let receipts: Vec<_> = taken.iter().map(|delivery| delivery.receipt.clone()).collect();
    for receipts in [&receipts[..], &receipts[..5]] {
        let statuses = broker.extend(receipts, LONG).await.unwrap();
        assert_eq!(statuses, vec![LeaseStatus::Held; receipts.len()]);
    }
    let remember = Some(LONG);
    let remembered = Settlement { remember, ..settlement(&taken[0], Disposition::Acknowledge) };
    assert_eq!(broker.settle(&[remembered]).await.unwrap(), [SettleOutcome::Settled]);
    settle(&broker, &taken[1..10], Disposition::DeadLetter).await;
    settle(&broker, &taken[10..20], Disposition::Release).await;
    let failed = Progress { failures: 1, ..Progress::default() };
    let retry = Settlement { progress: failed, ..settlement(&taken[20], Disposition::Requeue { after: LONG }) };
    assert_eq!(broker.settle(&[retry]).await.unwrap(), [SettleOutcome::Settled]);
    acknowledge(&broker, &taken[21..]).await;
    let again = fetch(&broker, &queue, 40).await;
    assert_eq!(ids(&again), ids(&taken[10..20]));
    acknowledge(&broker, &again).await;
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    publish_count(&broker, &queue, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_is_named_and_stops_only_its_queue() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let parts = ["ready", "body", "sched", "lease", "claims", "left", "owner", "meta", "bell", "seq"];
    for part in parts.into_iter().chain(["critical", "high", "low", "level"]) {
        let queue = fixture::queue();
        publish_count(&broker, &queue, 3).await;
        server.command(&["DEL", &key(&queue, part)]);
        let foreign = if part == "seq" { ["LPUSH", "list"] } else { ["SET", "string"] };
        server.command(&[foreign[0], &key(&queue, part), "x"]);
        let error = broker.fetch(&request(&queue, 10)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{part}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("WRONGTYPE"), "{text}");
        assert!(text.contains(&format!("key: {}, type: {}", key(&queue, part), foreign[1])), "{text}");
        server.command(&["DEL", &key(&queue, part)]);
        if !matches!(part, "ready" | "body") {
            assert_eq!(fetch(&broker, &queue, 10).await.len(), 3, "{part}: nothing was taken by the failed fetch");
        }
    }
    let other = fixture::queue();
    publish_count(&broker, &other, 1).await;
    assert_eq!(fetch(&broker, &other, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_refuses_a_whole_publish() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    for part in ["ready", "body", "bell", "dead"] {
        let queue = fixture::queue();
        server.command(&["SET", &key(&queue, part), "x"]);
        let error = broker.publish(&fixture::messages(&queue, 3)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{part}: {error:?}");
        assert!(error.to_string().contains(&key(&queue, part)), "{error}");
        server.command(&["DEL", &key(&queue, part)]);
        assert_eq!(fetch(&broker, &queue, 10).await.len(), 0, "{part}: nothing was applied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_queue_that_refuses_does_not_hide_what_the_others_took() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let (good, bad) = (fixture::queue(), fixture::queue());
    server.command(&["SET", &key(&bad, "ready"), "x"]);
    let messages = [fixture::message(&good, "1"), fixture::message(&bad, "2"), fixture::message(&good, "3")];
    let outcomes = broker.publish(&messages).await.unwrap();
    assert!(outcomes[0].is_accepted() && outcomes[2].is_accepted(), "{outcomes:?}");
    assert!(matches!(&outcomes[1], PublishOutcome::Rejected(error) if error.kind() == ErrorKind::Rejected));
    assert_eq!(fetch(&broker, &good, 10).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_beyond_the_limit_is_refused_before_it_is_sent() {
    let server = RedisServer::start();
    let broker = connect_with(RedisBrokerConfig::new(server.url()).payload(10)).await;
    assert_eq!(broker.capabilities().max_payload, 10);
    let queue = fixture::queue();
    let error = broker.publish(&[fixture::message(&queue, "12345678901")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(server.command(&["DBSIZE"]), "0");
    publish(&broker, &[fixture::message(&queue, "1234567890")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_cursor_is_refused() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    for cursor in ["", "x", "x:y", ":y", "1;2"] {
        let error = broker.dead_letters(&fixture::queue(), Some(cursor), 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{cursor:?}");
    }
}

/// A replica refuses writes; when it becomes a primary again, the same call goes through.
#[tokio::test(flavor = "multi_thread")]
async fn a_publish_outlasts_a_change_of_roles() {
    let primary = RedisServer::start();
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    server.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    let publishing = tokio::spawn({
        let (broker, queue) = (Arc::clone(&broker), queue.clone());
        async move { publish_count(&broker, &queue, 1).await }
    });
    let error = broker.fetch(&request(&queue, 1)).await;
    assert!(error.as_ref().is_ok_and(Vec::is_empty) || error.is_err_and(|error| error.is_retryable()));
    server.command(&["REPLICAOF", "NO", "ONE"]);
    publishing.await.unwrap();
    assert_eq!(fetch_some(&broker, &queue, 1).await.len(), 1);
}
