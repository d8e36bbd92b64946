//! What every broker guarantees.

use std::sync::{Arc, LazyLock};

use windlass_broker_redis::{RedisBroker, RedisBrokerConfig};
use windlass_testing::servers::RedisServer;

/// All guarantees share one server; they use queues of their own.
static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

async fn connect() -> RedisBroker {
    RedisBroker::connect(RedisBrokerConfig::new(SERVER.url())).await.unwrap()
}

windlass_testing::broker_conformance!(async { Arc::new(connect().await) });
