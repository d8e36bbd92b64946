//! What every broker guarantees.

use std::sync::{Arc, LazyLock};

use windlass_broker_redis::{RedisBroker, RedisBrokerConfig};
use windlass_testing::servers::{FaultProxy, RedisServer};

/// All guarantees share one server; they use queues of their own.
static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

async fn connect(url: String) -> Arc<RedisBroker> {
    Arc::new(RedisBroker::connect(RedisBrokerConfig::new(url)).await.unwrap())
}

/// A broker, and what cuts its connections.
async fn disturbed() -> (Arc<RedisBroker>, impl Fn()) {
    let proxy = FaultProxy::start(SERVER.port());
    (connect(proxy.url("redis")).await, move || proxy.cut())
}

windlass_testing::broker_conformance!(
    connect(SERVER.url()),
    name = "Redis",
    pair = async { (connect(SERVER.url()).await, connect(SERVER.url()).await) },
    disturbed = disturbed()
);
