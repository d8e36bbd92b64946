//! The servers that are measured: which store a URL names, and what the server says about itself.

mod postgres;
mod rabbitmq;
pub(crate) mod redis;

use serde::Serialize;

use crate::Result;
use crate::options::Options;

/// What a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// This process.
    Memory,
    Redis,
    RabbitMq,
    Postgres,
}

impl Store {
    /// By the scheme; what is not known here, windlass refuses with a better text.
    pub(crate) fn of(url: &str) -> Self {
        match url.split("://").next().unwrap_or_default() {
            "redis" => Self::Redis,
            "amqp" => Self::RabbitMq,
            "postgres" | "postgresql" => Self::Postgres,
            _ => Self::Memory,
        }
    }
}

/// What figures of a server have to be read with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Server {
    /// The name of the product.
    pub(crate) name: &'static str,
    /// The version that it reports.
    pub(crate) version: String,
    /// How it keeps its data.
    pub(crate) mode: String,
}

impl Server {
    /// Asks the servers of broker and backend; one that is both is asked once.
    pub(crate) async fn ask_all(options: &Options) -> Result<Vec<Self>> {
        let mut servers = Vec::new();
        for url in options.urls() {
            match Store::of(url) {
                Store::Memory => {}
                Store::Redis => servers.push(redis::ask(url).await?),
                Store::RabbitMq => servers.push(rabbitmq::ask(url, options.queue_type).await?),
                Store::Postgres => servers.push(postgres::ask(url).await?),
            }
        }
        Ok(servers)
    }
}

/// Removes what this run has made on servers that would keep it for ever.
pub(crate) async fn remove(options: &Options) -> Result<()> {
    for url in options.urls() {
        match Store::of(url) {
            Store::RabbitMq => rabbitmq::remove(url).await?,
            Store::Postgres => postgres::remove(url).await?,
            // Queues that are empty are gone, results age out.
            Store::Memory | Store::Redis => {}
        }
    }
    Ok(())
}

/// Empties the Redis databases.
pub(crate) async fn flush(options: &Options) -> Result<()> {
    for url in options.urls_of(Store::Redis) {
        redis::flush(url).await?;
    }
    Ok(())
}
