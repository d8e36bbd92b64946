//! What only this broker promises: how it bears the faults of Redis, and what it leaves behind.

mod connections;
mod dead;
mod faults;
mod keys;
mod levels;
mod limits;
mod refusals;
mod reserve;
mod risks;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use windlass_broker_redis::{RedisBroker, RedisBrokerConfig};
use windlass_core::{
    Broker, Delivery, Disposition, FetchRequest, Message, PublishOutcome, QueueName, Replay, SettleOutcome, Settlement,
    State, TaskId,
};
use windlass_testing::conformance::eventually;
use windlass_testing::fixture;
use windlass_testing::servers::RedisServer;

const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

async fn connect(url: impl Into<String>) -> Arc<RedisBroker> {
    connect_with(RedisBrokerConfig::new(url)).await
}

async fn connect_with(config: RedisBrokerConfig) -> Arc<RedisBroker> {
    Arc::new(RedisBroker::connect(config).await.unwrap())
}

/// Publishes; every message must be accepted.
async fn publish(broker: &RedisBroker, messages: &[Message]) {
    let outcomes = broker.publish(messages).await.unwrap();
    assert_eq!(outcomes.len(), messages.len());
    assert!(outcomes.iter().all(PublishOutcome::is_accepted), "{outcomes:?}");
}

async fn publish_count(broker: &RedisBroker, queue: &QueueName, count: usize) -> Vec<TaskId> {
    let messages = fixture::messages(queue, count);
    publish(broker, &messages).await;
    messages.into_iter().map(|message| message.id).collect()
}

fn request(queue: &QueueName, max: usize) -> FetchRequest {
    FetchRequest::new(queue.clone(), max, LONG)
}

async fn fetch(broker: &RedisBroker, queue: &QueueName, max: usize) -> Vec<Delivery> {
    broker.fetch(&request(queue, max)).await.unwrap()
}

/// Fetches until something comes, also over errors.
async fn fetch_some(broker: &RedisBroker, queue: &QueueName, max: usize) -> Vec<Delivery> {
    eventually("a message comes", PATIENCE, || async {
        broker.fetch(&request(queue, max)).await.ok().filter(|deliveries| !deliveries.is_empty())
    })
    .await
}

fn settlement(delivery: &Delivery, disposition: Disposition) -> Settlement {
    Settlement {
        receipt: delivery.receipt.clone(),
        disposition,
        progress: delivery.progress,
        state: State::Succeeded,
        remember: None,
        reason: None,
    }
}

/// Settles all in the same way; all must be held.
async fn settle(broker: &RedisBroker, deliveries: &[Delivery], disposition: Disposition) {
    let settlements: Vec<Settlement> = deliveries.iter().map(|delivery| settlement(delivery, disposition)).collect();
    let outcomes = broker.settle(&settlements).await.unwrap();
    assert_eq!(outcomes, vec![SettleOutcome::Settled; deliveries.len()]);
}

async fn acknowledge(broker: &RedisBroker, deliveries: &[Delivery]) {
    settle(broker, deliveries, Disposition::Acknowledge).await;
}

fn letters(deliveries: &[Delivery]) -> Vec<Replay> {
    ids(deliveries).into_iter().map(Replay::from).collect()
}

fn ids(deliveries: &[Delivery]) -> Vec<TaskId> {
    deliveries.iter().map(|delivery| delivery.receipt.id.clone()).collect()
}

fn key(queue: &QueueName, part: &str) -> String {
    format!("windlass:{{{queue}}}:{part}")
}

/// How many connections this crate has to the server.
fn connections(server: &RedisServer) -> usize {
    let list = server.command(&["CLIENT", "LIST"]);
    // The connection that asks speaks the second version of the protocol.
    list.lines().filter(|line| line.contains(" resp=3")).count()
}
