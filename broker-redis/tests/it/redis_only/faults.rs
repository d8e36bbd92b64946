//! Lost answers, restarts, flushed scripts.

use windlass_core::{Broker, Disposition, ErrorKind, Location, Message, Schedule};
use windlass_testing::conformance::eventually;
use windlass_testing::fixture;
use windlass_testing::servers::{Fault, FaultProxy, RedisServer};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_whose_answer_is_lost_is_not_doubled() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let config = RedisBrokerConfig::new(proxy.url("redis")).operation_timeout(millis(200));
    let broker = connect_with(config.send_timeout(PATIENCE)).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 1).await;
    proxy.set(Fault::LoseAnswers);
    let publishing = tokio::spawn({
        let (broker, queue) = (Arc::clone(&broker), queue.clone());
        async move { publish_count(&broker, &queue, 5).await }
    });
    let length = || server.command(&["LLEN", &key(&queue, "ready")]);
    eventually("the request arrives", PATIENCE, || async { (length() == "6").then_some(()) }).await;
    proxy.set(Fault::Pass);
    publishing.await.unwrap();
    assert_eq!(length(), "6");
    assert_eq!(fetch_some(&broker, &queue, 10).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_never_answered_is_unknown() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let config = RedisBrokerConfig::new(proxy.url("redis")).operation_timeout(millis(200));
    let broker = connect_with(config.send_timeout(millis(700)).connect_timeout(millis(200))).await;
    let queue = fixture::queue();
    proxy.set(Fault::LoseAnswers);
    let error = broker.publish(&fixture::messages(&queue, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    assert!(error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_was_never_sent_is_unavailable() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let broker = connect_with(RedisBrokerConfig::new(proxy.url("redis")).send_timeout(millis(500))).await;
    proxy.set(Fault::Refuse);
    // The broken connection is noticed at once or by the first call, which is then unknown.
    let queue = fixture::queue();
    let error = eventually("the loss is noticed", PATIENCE, || async {
        let error = broker.publish(&fixture::messages(&queue, 1)).await.unwrap_err();
        (error.kind() == ErrorKind::Unavailable).then_some(error)
    })
    .await;
    assert!(error.to_string().contains("cannot reach Redis"), "{error}");
    assert_eq!(server.command(&["EXISTS", &key(&queue, "ready")]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_whose_answer_is_lost_can_be_repeated() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let broker = connect_with(RedisBrokerConfig::new(proxy.url("redis")).operation_timeout(millis(200))).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 4).await;
    // The server learns the script while it can still be heard.
    acknowledge(&broker, &fetch(&broker, &queue, 1).await).await;
    let taken = fetch(&broker, &queue, 3).await;
    let batch: Vec<_> = taken[..2].iter().map(|delivery| settlement(delivery, Disposition::Acknowledge)).collect();
    proxy.set(Fault::LoseAnswers);
    let error = broker.settle(&batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    let length = || server.command(&["HLEN", &key(&queue, "body")]);
    eventually("the request arrives", PATIENCE, || async { (length() == "1").then_some(()) }).await;
    proxy.set(Fault::Pass);
    let outcomes = eventually("it is answered", PATIENCE, || async { broker.settle(&batch).await.ok() }).await;
    assert_eq!(outcomes, [SettleOutcome::Settled; 2]);
    acknowledge(&broker, &taken[2..]).await;
    // Also when nothing of the claim is left.
    assert_eq!(broker.settle(&batch).await.unwrap(), [SettleOutcome::Settled; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_claim_is_told_also_when_another_worker_has_finished_its_task() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 3).await;
    let lost = broker.fetch(&FetchRequest { lease: millis(50), ..request(&queue, 3) }).await.unwrap();
    acknowledge(&broker, &lost[..1]).await;
    broker.extend(&[lost[1].receipt.clone()], millis(100)).await.unwrap();
    let mut again = fetch_some(&broker, &queue, 3).await;
    while again.len() < 2 {
        again.extend(fetch_some(&broker, &queue, 3).await);
    }
    acknowledge(&broker, &again).await;
    let late: Vec<_> = lost.iter().map(|delivery| settlement(delivery, Disposition::Acknowledge)).collect();
    let outcomes = broker.settle(&late).await.unwrap();
    assert_eq!(outcomes, [SettleOutcome::Settled, SettleOutcome::Lost, SettleOutcome::Lost]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_for_a_caller_who_has_gone_is_given_back() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let broker = connect(proxy.url("redis")).await;
    let queue = fixture::queue();
    let published = publish_count(&broker, &queue, 5).await;
    proxy.set(Fault::Delay(millis(200)));
    let gone = tokio::time::timeout(millis(50), broker.fetch(&request(&queue, 3))).await;
    assert!(gone.is_err(), "it was answered too soon");
    let owners = || server.command(&["HLEN", &key(&queue, "owner")]);
    eventually("it is claimed", PATIENCE, || async { (owners() == "3").then_some(()) }).await;
    eventually("it is given back", PATIENCE, || async { (owners() == "0").then_some(()) }).await;
    let taken = fetch(&broker, &queue, 10).await;
    assert_eq!(ids(&taken), published, "in its order");
    assert!(taken.iter().all(|delivery| delivery.progress.losses == 0), "and uncounted");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_scripts_are_loaded_again() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    for _ in 0..3 {
        let flush = || server.command(&["SCRIPT", "FLUSH"]);
        flush();
        let ids = publish_count(&broker, &queue, 2).await;
        flush();
        let taken = fetch(&broker, &queue, 1).await;
        flush();
        assert_eq!(broker.locate(&queue, &ids[1]).await.unwrap(), Some(Location::Queued));
        flush();
        broker.extend(&[taken[0].receipt.clone()], LONG).await.unwrap();
        flush();
        acknowledge(&broker, &taken).await;
        flush();
        broker.cancel(&queue, &ids[1]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_with_an_append_only_file_loses_nothing() {
    let mut server = RedisServer::builder().append_only(true).start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let published = publish_count(&broker, &queue, 100).await;
    let late = Message { schedule: Schedule::After(LONG), ..fixture::message(&queue, "late") };
    publish(&broker, std::slice::from_ref(&late)).await;
    let taken = fetch(&broker, &queue, 20).await;
    settle(&broker, &taken[..5], Disposition::DeadLetter).await;
    acknowledge(&broker, &taken[5..10]).await;
    server.kill();
    assert_eq!(broker.fetch(&request(&queue, 1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.restart();
    let rest = fetch_some(&broker, &queue, 1_000).await;
    assert_eq!(ids(&rest), published[20..]);
    // The claims from before are still ours.
    acknowledge(&broker, &taken[10..]).await;
    acknowledge(&broker, &rest).await;
    assert_eq!(broker.dead_letters(&queue, None, 10).await.unwrap().letters.len(), 5);
    let place = broker.locate(&queue, &late.id).await.unwrap();
    assert!(matches!(place, Some(Location::Scheduled { retrying: false, .. })), "{place:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_server_is_an_empty_broker() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 3).await;
    let before = fetch(&broker, &queue, 1).await;
    server.command(&["FLUSHALL"]);
    let statuses = broker.extend(&[before[0].receipt.clone()], LONG).await.unwrap();
    assert_eq!(statuses, [windlass_core::LeaseStatus::Lost]);
    assert!(fetch(&broker, &queue, 10).await.is_empty());
    publish_count(&broker, &queue, 1).await;
    let after = fetch(&broker, &queue, 10).await;
    assert_eq!(after.len(), 1);
    assert!(after[0].receipt.token > before[0].receipt.token, "tokens grow although the last one is forgotten");
}
