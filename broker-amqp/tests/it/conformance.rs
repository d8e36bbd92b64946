//! What every broker guarantees, on both kinds of queues.

use std::sync::Arc;

use windlass_broker_amqp::{AmqpBroker, AmqpBrokerConfig, QueueType};
use windlass_testing::servers::FaultProxy;

use crate::SERVER;

/// The two kinds cannot share names.
fn config(url: String, queue_type: QueueType) -> AmqpBrokerConfig {
    AmqpBrokerConfig::new(url).queue_type(queue_type).prefix(format!("{queue_type:?}").to_lowercase())
}

async fn connect(queue_type: QueueType) -> Arc<AmqpBroker> {
    Arc::new(AmqpBroker::connect(config(SERVER.url(), queue_type)).await.unwrap())
}

/// A broker behind a proxy, and a function that cuts its connections.
async fn disturbed(queue_type: QueueType) -> (Arc<AmqpBroker>, impl Fn() + Send + Sync + 'static) {
    let proxy = FaultProxy::start(SERVER.port());
    let broker = AmqpBroker::connect(config(SERVER.url_at(proxy.port()), queue_type)).await.unwrap();
    (Arc::new(broker), move || proxy.cut())
}

mod quorum {
    use super::*;
    const KIND: QueueType = QueueType::Quorum;
    windlass_testing::broker_conformance!(
        connect(KIND),
        name = "RabbitMQ, quorum queues",
        pair = async { (connect(KIND).await, connect(KIND).await) },
        disturbed = disturbed(KIND),
    );
}

mod classic {
    use super::*;
    const KIND: QueueType = QueueType::Classic;
    windlass_testing::broker_conformance!(
        connect(KIND),
        name = "RabbitMQ, classic queues",
        pair = async { (connect(KIND).await, connect(KIND).await) },
        disturbed = disturbed(KIND),
    );
}
