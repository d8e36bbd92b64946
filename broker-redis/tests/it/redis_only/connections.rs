//! How many connections there are, and what happens when they break.

use windlass_core::broker::Overflow;
use windlass_core::{Broker, Disposition, ErrorKind, QueueLimit};
use windlass_testing::conformance::eventually;
use windlass_testing::fixture;
use windlass_testing::servers::{Fault, FaultProxy, RedisServer, free_port};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_has_one_connection_and_a_worker_two() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (broker, queue) = (Arc::clone(&broker), queue.clone());
            tokio::spawn(async move { publish_count(&broker, &queue, 10).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(connections(&server), 1);
    let lanes: Vec<_> = (0..20)
        .map(|_| {
            let (broker, queue) = (Arc::clone(&broker), fixture::queue());
            tokio::spawn(async move { broker.ready(&queue, millis(500)).await })
        })
        .collect();
    eventually("the second one is opened", PATIENCE, || async { (connections(&server) == 2).then_some(()) }).await;
    for lane in lanes {
        lane.await.unwrap().unwrap();
    }
    assert_eq!(connections(&server), 2);
    broker.close().await;
    eventually("they are closed", PATIENCE, || async { (connections(&server) == 0).then_some(()) }).await;
    let error = broker.publish(&[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_broker_closes_its_connections() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    assert_eq!(connections(&server), 1);
    drop(broker);
    eventually("it is closed", PATIENCE, || async { (connections(&server) == 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_are_replaced() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    broker.ready(&queue, millis(10)).await.unwrap();
    for round in 0..5 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        publish_count(&broker, &queue, 1).await;
        let delivery = fetch_some(&broker, &queue, 1).await;
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("it can be settled", PATIENCE, || async {
            broker.settle(&[settlement(&delivery[0], Disposition::Acknowledge)]).await.ok()
        })
        .await;
        assert!(fetch_some_or_none(&broker, &queue).await.is_empty(), "round {round}: nothing is left");
    }
    // The bell works again, too.
    let waiting = tokio::spawn({
        let (broker, queue) = (Arc::clone(&broker), queue.clone());
        async move {
            loop {
                broker.ready(&queue, Duration::from_secs(5)).await.unwrap();
                let some = fetch_some_or_none(&broker, &queue).await;
                if !some.is_empty() {
                    return some;
                }
            }
        }
    });
    publish_count(&broker, &queue, 1).await;
    assert_eq!(waiting.await.unwrap().len(), 1);
}

/// What a fetch finds that succeeds.
async fn fetch_some_or_none(broker: &RedisBroker, queue: &QueueName) -> Vec<windlass_core::Delivery> {
    eventually("a fetch succeeds", PATIENCE, || async { broker.fetch(&request(queue, 10)).await.ok() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_named_without_its_password() {
    let port = free_port();
    let error = RedisBroker::connect(RedisBrokerConfig::new(format!("redis://user:secret@127.0.0.1:{port}")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.is_retryable());
    let text = format!("{error:?}");
    assert!(text.contains("cannot reach Redis: Connection refused"), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{port}")) && !text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let server = RedisServer::start();
    server.stop();
    let start = std::time::Instant::now();
    let config = RedisBrokerConfig::new(server.url()).connect_timeout(millis(300));
    let error = RedisBroker::connect(config).await.unwrap_err();
    server.cont();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "after {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied_without_showing_it() {
    let server = RedisServer::builder().password("right").start();
    let wrong = server.url().replace("right", "wr0ng");
    let error = RedisBroker::connect(RedisBrokerConfig::new(wrong)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(!format!("{error:?}").contains("wr0ng"), "{error:?}");
    let none = RedisBrokerConfig::new(format!("redis://127.0.0.1:{}", server.port()));
    assert_eq!(RedisBroker::connect(none).await.unwrap_err().kind(), ErrorKind::Denied);
    connect(server.url()).await;
}

/// The list of the README.
const PERMISSIONS: &str = "+hello +info +client|id +client|unblock +evalsha +script|load +blpop +type \
    +time +get +set +mget +exists +expire +pexpire +lpop +lpush +rpush +llen +hget +hset +hmget +hdel +hlen +hexists +hincrby \
    +zadd +zrem +zcard +zscore +zmscore +zrange +zrangebyscore +zremrangebyscore";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_permissions_can_do_everything() {
    let server = RedisServer::start();
    let mut rule = vec!["ACL", "SETUSER", "worker", "on", ">secret", "~windlass:*", "-@all"];
    rule.extend(PERMISSIONS.split_whitespace());
    server.command(&rule);
    let broker = connect(server.url().replace("redis://", "redis://worker:secret@")).await;
    let queue = fixture::queue();
    let ids = publish_count(&broker, &queue, 5).await;
    let again = Message { remember: Some(LONG), id: ids[0].clone(), ..fixture::message(&queue, "again") };
    assert!(matches!(broker.publish(&[again]).await.unwrap()[..], [PublishOutcome::Duplicate]));
    broker.cancel(&queue, &ids[4]).await.unwrap();
    broker.locate(&queue, &ids[0]).await.unwrap();
    let taken = broker.fetch(&FetchRequest { lease: millis(100), ..request(&queue, 4) }).await.unwrap();
    broker.extend(&[taken[0].receipt.clone()], millis(300)).await.unwrap();
    let mut back = 0;
    while back < 4 {
        broker.ready(&queue, millis(300)).await.unwrap();
        let some = fetch(&broker, &queue, 4).await;
        back += some.len();
        settle(&broker, &some, Disposition::DeadLetter).await;
    }
    assert_eq!(broker.dead_letters(&queue, None, 10).await.unwrap().letters.len(), 4);
    assert_eq!(broker.replay(&queue, &ids[..4].iter().cloned().map(Into::into).collect::<Vec<_>>()).await.unwrap(), 4);
    let some = fetch(&broker, &queue, 4).await;
    settle(&broker, &some[..1], Disposition::Requeue { after: LONG }).await;
    settle(&broker, &some[1..2], Disposition::Release).await;
    let remember = Settlement { remember: Some(LONG), ..settlement(&some[2], Disposition::Acknowledge) };
    assert_eq!(broker.settle(&[remember]).await.unwrap(), [SettleOutcome::Settled]);
    acknowledge(&broker, &some[3..]).await;
    for overflow in [Overflow::Reject, Overflow::DropOldest] {
        let limit = Some(QueueLimit { max: 1, overflow });
        broker.publish(&[Message { limit, ..fixture::message(&queue, "limited") }]).await.unwrap();
    }
    assert_eq!(broker.discard(&queue, &ids).await.unwrap(), 1, "the one that was released was dropped");
    assert_eq!(broker.risks().len(), 1, "without +config|get it is not known what is written: {:?}", broker.risks());
    publish_count(&broker, &queue, 1).await;
    server.command(&["ACL", "SETUSER", "worker", "-lpop"]);
    let error = broker.fetch(&request(&queue, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_in_the_file_system_works() {
    let folder = std::env::temp_dir().join(format!("windlass-{:016x}.sock", fastrand::u64(..)));
    let path = folder.to_str().unwrap().to_owned();
    let _server = RedisServer::builder().arg("--unixsocket").arg(&path).start();
    for scheme in ["unix", "redis+unix"] {
        let broker = connect(format!("{scheme}://{path}")).await;
        let queue = fixture::queue();
        publish_count(&broker, &queue, 1).await;
        acknowledge(&broker, &fetch(&broker, &queue, 1).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_can_be_opened_before_its_server() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    proxy.set(Fault::Refuse);
    let broker = Arc::new(RedisBroker::open(RedisBrokerConfig::new(proxy.url("redis"))).unwrap());
    let queue = fixture::queue();
    let error = broker.fetch(&request(&queue, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let publishing = tokio::spawn({
        let (broker, queue) = (Arc::clone(&broker), queue.clone());
        async move { publish_count(&broker, &queue, 3).await }
    });
    proxy.set(Fault::Pass);
    let published = publishing.await.unwrap();
    assert_eq!(ids(&fetch_some(&broker, &queue, 10).await), published);
}
