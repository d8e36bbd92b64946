//! Private servers for the examples, and the pairs of stores that they make.

use windlass_testing::servers::{PostgresServer, RabbitServer, RedisServer};

/// One server of each kind, gone when dropped.
pub(crate) struct Stores {
    redis: RedisServer,
    rabbitmq: RabbitServer,
    postgres: PostgresServer,
}

/// Where tasks wait and where results are kept.
pub(crate) struct Pair {
    /// For people.
    pub(crate) name: String,
    /// The URL of the broker.
    pub(crate) broker: String,
    /// The URL of the backend.
    pub(crate) backend: String,
}

impl Stores {
    /// Starts them; a missing server ends the program with a text that says how to install it.
    pub(crate) fn start() -> Self {
        Self { redis: RedisServer::start(), rabbitmq: RabbitServer::start(), postgres: PostgresServer::start() }
    }

    /// The URL of the Redis server.
    pub(crate) fn redis(&self) -> String {
        self.redis.url()
    }

    /// The URL of the Postgres server.
    pub(crate) fn postgres(&self) -> String {
        self.postgres.url()
    }

    /// Every broker with every backend.
    pub(crate) fn pairs(&self) -> Vec<Pair> {
        let brokers = [("Redis", self.redis()), ("RabbitMQ", self.rabbitmq.url())];
        let backends = [("Redis", self.redis()), ("Postgres", self.postgres())];
        let pair = |broker: &(&str, String), backend: &(&str, String)| Pair {
            name: format!("{} + {}", broker.0, backend.0),
            broker: broker.1.clone(),
            backend: backend.1.clone(),
        };
        brokers.iter().flat_map(|broker| backends.iter().map(move |backend| pair(broker, backend))).collect()
    }
}
