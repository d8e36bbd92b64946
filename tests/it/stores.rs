//! The combinations of a broker and a backend, on servers of the test's own.

use std::sync::{Mutex, MutexGuard};

use windlass_testing::servers::{PostgresServer, RabbitServer, RedisServer};

/// Which broker and which backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    RedisRedis,
    RedisPostgres,
    RabbitRedis,
    RabbitPostgres,
}

impl Pair {
    pub(crate) const ALL: [Self; 4] = [Self::RedisRedis, Self::RedisPostgres, Self::RabbitRedis, Self::RabbitPostgres];
}

/// The servers that a test needs, each started when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    redis: Mutex<Option<RedisServer>>,
    rabbit: Mutex<Option<RabbitServer>>,
    postgres: Mutex<Option<PostgresServer>>,
}

fn started<T>(server: &Mutex<Option<T>>, start: impl FnOnce() -> T) -> MutexGuard<'_, Option<T>> {
    let mut server = server.lock().expect("no start has failed");
    server.get_or_insert_with(start);
    server
}

impl Servers {
    fn redis(&self) -> String {
        let start = || RedisServer::builder().append_only(true).start();
        started(&self.redis, start).as_ref().map(RedisServer::url).expect("it is started")
    }

    fn rabbit(&self) -> String {
        started(&self.rabbit, RabbitServer::start).as_ref().map(RabbitServer::url).expect("it is started")
    }

    fn postgres(&self) -> String {
        started(&self.postgres, || PostgresServer::builder().durable(true).start())
            .as_ref()
            .map(PostgresServer::url)
            .expect("it is started")
    }

    /// The URLs of broker and backend.
    pub(crate) fn urls(&self, pair: Pair) -> (String, String) {
        match pair {
            Pair::RedisRedis => (self.redis(), self.redis()),
            Pair::RedisPostgres => (self.redis(), self.postgres()),
            Pair::RabbitRedis => (self.rabbit(), self.redis()),
            Pair::RabbitPostgres => (self.rabbit(), self.postgres()),
        }
    }

    /// A `windlass.toml` for a combination.
    pub(crate) fn toml(&self, pair: Pair) -> String {
        let (broker, backend) = self.urls(pair);
        format!("[broker]\nurl = {broker:?}\n\n[backend]\nurl = {backend:?}\n")
    }

    /// Ends what holds messages as a crash would, and starts it again with what it has on disk.
    pub(crate) fn restart_broker(&self, pair: Pair) {
        match pair {
            Pair::RedisRedis | Pair::RedisPostgres => restart(&self.redis, RedisServer::restart),
            Pair::RabbitRedis | Pair::RabbitPostgres => restart(&self.rabbit, RabbitServer::restart),
        }
    }

    /// Tells RabbitMQ what to do, as `rabbitmqctl` does.
    pub(crate) fn rabbit_ctl(&self, words: &[&str]) {
        started(&self.rabbit, RabbitServer::start).as_ref().expect("it is started").ctl(words);
    }

    /// The same for what keeps results.
    pub(crate) fn restart_backend(&self, pair: Pair) {
        match pair {
            Pair::RedisRedis | Pair::RabbitRedis => restart(&self.redis, RedisServer::restart),
            Pair::RedisPostgres | Pair::RabbitPostgres => restart(&self.postgres, PostgresServer::restart),
        }
    }
}

fn restart<T>(server: &Mutex<Option<T>>, restart: impl FnOnce(&mut T)) {
    restart(server.lock().expect("no start has failed").as_mut().expect("it was started"));
}
