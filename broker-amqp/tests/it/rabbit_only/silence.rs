//! A server that says nothing, and a link that does not hold: what is given up must end.

use std::collections::HashSet;
use std::process::Command;
use std::time::Instant;

use windlass_core::{Error, ErrorKind, LeaseStatus};
use windlass_testing::servers::{Fault, FaultProxy, RabbitServer};

use super::*;
use crate::SERVER;

/// So rare that no heartbeat ends anything within a test.
const RARE: Duration = Duration::from_secs(600);

fn impatient(url: String, prefix: &str) -> AmqpBrokerConfig {
    AmqpBrokerConfig::new(url)
        .prefix(prefix)
        .heartbeat(RARE)
        .operation_timeout(millis(500))
        .connect_timeout(millis(2_000))
        .send_timeout(millis(1_500))
}

/// Fetches until the server is found to be silent.
async fn notice(broker: &AmqpBroker, held: &[Delivery]) {
    let receipt = [held[0].receipt.clone()];
    eventually("the claim is lost", PATIENCE, || async {
        let _ = broker.fetch(&FetchRequest::new(receipt[0].queue.clone(), 50, LONG)).await;
        (broker.extend(&receipt, LONG).await.unwrap() == [LeaseStatus::Lost]).then_some(())
    })
    .await;
}

/// How many consumers the AMQP queues have whose names begin so.
fn consumers(server: &RabbitServer, prefix: &str) -> Vec<u32> {
    let listed = server.ctl(&["list_queues", "name", "consumers"]);
    let lines = listed.lines().filter_map(|line| line.split_once('\t'));
    lines.filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count.parse().unwrap()).collect()
}

#[tokio::test]
async fn fault_44_a_connection_without_answers_keeps_nothing() {
    let proxy = FaultProxy::start(SERVER.port());
    let queue = fixture::queue();
    let broker = connect(impatient(SERVER.url_at(proxy.port()), "deaf")).await;
    let published = publish_count(&broker, &queue, 20).await;
    let held = fetch_count(&broker, &queue, 5).await;
    eventually("it consumes", PATIENCE, || async {
        (consumers(&SERVER, "deaf").iter().sum::<u32>() == 5).then_some(())
    })
    .await;
    // Everything that we send still arrives, as the heartbeats of a connection that is only forgotten would.
    proxy.set(Fault::LoseAnswers);
    notice(&broker, &held).await;
    eventually("nobody consumes", PATIENCE, || async {
        consumers(&SERVER, "deaf").iter().all(|count| *count == 0).then_some(())
    })
    .await;
    let other = connect(impatient(SERVER.url(), "deaf")).await;
    let came: HashSet<TaskId> = ids(&fetch_count(&other, &queue, 20).await).into_iter().collect();
    assert_eq!(came, published.into_iter().collect());
}

#[tokio::test]
async fn fault_44_without_answers_the_outcome_is_unknown_and_the_same_id_can_be_sent_again() {
    let proxy = FaultProxy::start(SERVER.port());
    let queue = fixture::queue();
    let broker = connect(impatient(SERVER.url_at(proxy.port()), "unanswered")).await;
    acknowledge(&broker, &{
        publish_count(&broker, &queue, 1).await;
        fetch_count(&broker, &queue, 1).await
    })
    .await;
    let message = fixture::messages(&queue, 1);
    proxy.set(Fault::LoseAnswers);
    let error = broker.publish(&message).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
    proxy.set(Fault::Pass);
    eventually("the same id is taken", PATIENCE, || async { broker.publish(&message).await.ok() }).await;
    let last = publish_count(&broker, &queue, 1).await;
    // What arrived under the fault is there besides: copies of one id, of which the backend lets one run.
    let mut found = Vec::new();
    while !found.contains(&last[0]) {
        let came = fetch_some(&broker, &queue, 50).await;
        found.extend(ids(&came));
        acknowledge(&broker, &came).await;
    }
    let copies = found.iter().filter(|id| **id == message[0].id).count();
    assert!((2..=8).contains(&copies) && copies + 1 == found.len(), "{found:?}");
}

#[tokio::test]
async fn fault_45_a_frozen_server_finds_one_consumer_a_level_when_it_goes_on() {
    let server = RabbitServer::start();
    let queue = fixture::queue();
    let broker = connect(impatient(server.url(), "frozen")).await;
    let published = publish_count(&broker, &queue, 20).await;
    let held = fetch_count(&broker, &queue, 5).await;
    server.stop();
    notice(&broker, &held).await;
    server.cont();
    let came: HashSet<TaskId> = ids(&fetch_count(&broker, &queue, 20).await).into_iter().collect();
    assert_eq!(came, published.into_iter().collect());
    eventually("one consumer a level", PATIENCE, || async {
        let counts = consumers(&server, "frozen");
        (counts.iter().sum::<u32>() == 5 && counts.iter().all(|count| *count <= 1)).then_some(())
    })
    .await;
    assert_eq!(server.ctl(&["list_connections", "pid"]).lines().count(), 2);
}

#[tokio::test]
async fn fault_49_a_server_that_stops_reading_answers_every_sender_in_time() {
    const SENDERS: usize = 2_000;
    let server = RabbitServer::start();
    let queue = fixture::queue();
    let broker = connect(impatient(server.url(), "stopped")).await;
    publish_count(&broker, &queue, 1).await;
    server.stop();
    let start = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (broker, message) = (Arc::clone(&broker), fixture::messages(&queue, 1));
            tokio::spawn(async move { broker.publish(&message).await })
        })
        .collect();
    let mut errors: Vec<Error> = Vec::with_capacity(SENDERS);
    for sender in senders {
        errors.push(sender.await.unwrap().unwrap_err());
    }
    assert!(start.elapsed() < millis(8_000), "it took {:?}", start.elapsed());
    let unknown = errors.iter().filter(|error| error.kind() == ErrorKind::Unknown).count();
    let unsent = errors.iter().filter(|error| error.kind() == ErrorKind::Unavailable).count();
    assert_eq!(unknown + unsent, SENDERS);
    assert!((1..100).contains(&unknown), "the driver holds only what is sent at a time: {unknown}");
    assert!(errors.iter().all(Error::is_retryable));
    server.cont();
    eventually("it goes on", PATIENCE, || async { broker.publish(&fixture::messages(&queue, 1)).await.ok() }).await;
}

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn fault_42_46_a_flapping_link_makes_progress_and_leaves_nothing_behind() {
    const CHILD: &str = "AMQP_FLAPPING_PORT";
    const NAME: &str = "rabbit_only::silence::fault_42_46_a_flapping_link_makes_progress_and_leaves_nothing_behind";
    // In a process of its own, so that its threads can be counted.
    let Ok(port) = std::env::var(CHILD) else {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, SERVER.port().to_string());
        assert!(child.status().unwrap().success());
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(flapping(port.parse().unwrap()));
}

async fn flapping(port: u16) {
    let proxy = FaultProxy::start(port);
    let queue = fixture::queue();
    let url = format!("amqp://guest:guest@127.0.0.1:{}", proxy.port());
    let broker = connect(impatient(url, "flapping").send_timeout(PATIENCE)).await;
    let last = publish_count(&broker, &queue, 1).await;
    acknowledge(&broker, &fetch_count(&broker, &queue, last.len()).await).await;
    let threads_before = threads();
    for round in 0..20 {
        let ends = Instant::now() + millis(500);
        // Progress in each window, and as much as it lets through.
        loop {
            let published = publish_count(&broker, &queue, 1).await;
            let mut missing = published;
            while !missing.is_empty() {
                let came = fetch_some(&broker, &queue, 10).await;
                missing.retain(|id| !came.iter().any(|delivery| delivery.receipt.id == *id));
                let _ = settle(&broker, &came, Disposition::Acknowledge).await;
            }
            if Instant::now() >= ends {
                break;
            }
        }
        // Also in the middle of opening a connection.
        proxy.cut();
        if round % 3 == 0 {
            proxy.set(Fault::Blackhole);
            let _ = broker.publish(&[]).await;
            let _ = broker.fetch(&FetchRequest::new(queue.clone(), 1, LONG)).await;
            proxy.set(Fault::Pass);
        }
    }
    acknowledge(&broker, &{
        publish_count(&broker, &queue, 1).await;
        fetch_some(&broker, &queue, 10).await
    })
    .await;
    eventually("only two connections are left", PATIENCE, || async {
        (proxy.open() <= 2 && threads() <= threads_before).then_some(())
    })
    .await;
}
