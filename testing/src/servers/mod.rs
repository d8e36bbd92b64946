//! Private servers for tests: each on a free port, in a temporary folder, gone when dropped.
//!
//! A missing server program is a failure whose text says what to install, never a skipped test.
//! The servers are also stopped when the test program dies without dropping them, for example
//! because they are kept in a `static` or because it was killed.

mod postgres;
mod process;
mod proxy;
mod rabbitmq;
mod redis;
mod resp;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

pub use postgres::{PostgresServer, PostgresServerBuilder};
pub use proxy::{Fault, FaultProxy};
pub use rabbitmq::{RabbitServer, RabbitServerBuilder};
pub use redis::{RedisServer, RedisServerBuilder};

/// The address of a port of this host that was free a moment ago.
///
/// Somebody else can take it before its user does, so whoever binds it must be ready to try another.
pub fn free_port() -> u16 {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback device has a free port")
        .port()
}
