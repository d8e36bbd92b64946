//! The RabbitMQ broker on private RabbitMQ servers.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod conformance;
mod rabbit_only;
mod server;

use std::sync::LazyLock;

use windlass_testing::servers::RabbitServer;

/// For tests that leave the server as it is; they use queues of their own.
static SERVER: LazyLock<RabbitServer> = LazyLock::new(RabbitServer::start);
