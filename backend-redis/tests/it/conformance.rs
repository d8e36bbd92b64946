//! The suites that every backend passes, on one server for all tests.

use std::sync::{Arc, LazyLock};

use windlass_backend_redis::{RedisBackend, RedisBackendConfig};
use windlass_testing::servers::{FaultProxy, RedisServer};

use crate::support::{config, connect};

static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

/// A backend, and what cuts its connections.
async fn disturbed() -> (Arc<RedisBackend>, impl Fn()) {
    let proxy = FaultProxy::start(SERVER.port());
    (connect(RedisBackendConfig::new(proxy.url("redis"))).await, move || proxy.cut())
}

async fn pair() -> (Arc<RedisBackend>, Arc<RedisBackend>) {
    (connect(config(&SERVER)).await, connect(config(&SERVER)).await)
}

windlass_testing::backend_conformance!(
    connect(config(&SERVER)),
    name = "Redis",
    pair = pair(),
    disturbed = disturbed()
);

mod notebook {
    use super::{SERVER, config, connect, disturbed, pair};

    windlass_testing::notebook_conformance!(
        connect(config(&SERVER)),
        name = "Redis",
        pair = pair(),
        disturbed = disturbed()
    );
}
