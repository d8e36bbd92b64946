//! The suite that every backend passes, on one server for all tests.

use std::sync::LazyLock;

use windlass_testing::servers::RedisServer;

use crate::support::{config, connect};

static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

windlass_testing::backend_conformance!(async { connect(config(&SERVER)).await });
