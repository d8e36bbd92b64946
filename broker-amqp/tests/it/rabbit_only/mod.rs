//! What only this broker promises: how it bears the faults of RabbitMQ, and what it declares.

mod alarms;
mod dead;
mod levels;
mod limits;
mod links;
mod outages;
mod queues;
mod refusals;
mod silence;

use std::sync::Arc;
use std::time::Duration;

use windlass_broker_amqp::{AmqpBroker, AmqpBrokerConfig, QueueType};
use windlass_core::{
    Broker, Delivery, Disposition, FetchRequest, Message, PublishOutcome, QueueName, SettleOutcome, Settlement, State,
    TaskId,
};
use windlass_testing::conformance::eventually;
use windlass_testing::fixture;

const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(30);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

async fn connect(config: AmqpBrokerConfig) -> Arc<AmqpBroker> {
    Arc::new(AmqpBroker::connect(config).await.unwrap())
}

/// On the shared server, with names that nobody else uses.
fn shared(prefix: &str) -> AmqpBrokerConfig {
    AmqpBrokerConfig::new(crate::SERVER.url()).prefix(prefix)
}

/// Publishes; every message must be accepted.
async fn publish(broker: &AmqpBroker, messages: &[Message]) {
    let outcomes = broker.publish(messages).await.unwrap();
    assert_eq!(outcomes.len(), messages.len());
    assert!(outcomes.iter().all(PublishOutcome::is_accepted), "{outcomes:?}");
}

async fn publish_count(broker: &AmqpBroker, queue: &QueueName, count: usize) -> Vec<TaskId> {
    let messages = fixture::messages(queue, count);
    publish(broker, &messages).await;
    messages.into_iter().map(|message| message.id).collect()
}

/// Fetches until something comes, also over errors.
async fn fetch_some(broker: &AmqpBroker, queue: &QueueName, max: usize) -> Vec<Delivery> {
    let request = FetchRequest::new(queue.clone(), max, LONG);
    eventually("a message comes", PATIENCE, || async {
        broker.fetch(&request).await.ok().filter(|deliveries| !deliveries.is_empty())
    })
    .await
}

/// Fetches until so many have come, also over errors.
async fn fetch_count(broker: &AmqpBroker, queue: &QueueName, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(fetch_some(broker, queue, count - all.len()).await);
    }
    all
}

fn settlement(delivery: &Delivery, disposition: Disposition) -> Settlement {
    Settlement {
        receipt: delivery.receipt.clone(),
        disposition,
        progress: delivery.progress,
        state: State::Succeeded,
        remember: None,
        reason: Some("a reason".to_owned()),
    }
}

async fn settle(broker: &AmqpBroker, deliveries: &[Delivery], disposition: Disposition) -> Vec<SettleOutcome> {
    let settlements: Vec<Settlement> = deliveries.iter().map(|delivery| settlement(delivery, disposition)).collect();
    broker.settle(&settlements).await.unwrap()
}

/// All must be held.
async fn acknowledge(broker: &AmqpBroker, deliveries: &[Delivery]) {
    let outcomes = settle(broker, deliveries, Disposition::Acknowledge).await;
    assert_eq!(outcomes, vec![SettleOutcome::Settled; deliveries.len()]);
}

fn ids(deliveries: &[Delivery]) -> Vec<TaskId> {
    deliveries.iter().map(|delivery| delivery.receipt.id.clone()).collect()
}

const KINDS: [QueueType; 2] = [QueueType::Quorum, QueueType::Classic];
