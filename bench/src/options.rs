//! The command line.

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::server::Store;

/// Measures windlass and, in the same run, the floor: the cheapest honest task without windlass.
#[derive(Debug, Clone, Parser)]
#[command(name = "windlass-bench")]
pub(crate) struct Options {
    /// What to measure.
    pub(crate) probe: Probe,
    /// Where tasks wait: redis://host:port, amqp://user:password@host:port or memory://.
    #[arg(long, value_name = "URL")]
    pub(crate) broker: String,
    /// Where results are kept: redis://…, postgres://… or none; by default where tasks wait.
    #[arg(long, value_name = "URL")]
    backend: Option<String>,
    /// How many tasks; each probe has its own default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tasks: Option<u64>,
    /// How many tasks the worker runs at the same time.
    #[arg(long, default_value_t = 100)]
    pub(crate) concurrency: usize,
    /// How often to measure; the figures are medians.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) repeat: u64,
    /// Which queues to use on RabbitMQ.
    #[arg(long, value_name = "TYPE", default_value = "quorum")]
    pub(crate) queue_type: QueueType,
    /// Empty the Redis databases before each measurement. Only for servers of your own: it removes everything
    /// whose name begins with `windlass`, and refuses if there is anything else.
    #[arg(long)]
    pub(crate) flush: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// How many tasks to send.
    pub(crate) fn tasks(&self) -> usize {
        let tasks = self.tasks.unwrap_or(match self.probe {
            Probe::Floor | Probe::Enqueue | Probe::Drain | Probe::Save => 100_000,
            Probe::Memory => 50_000,
            Probe::Latency => 2_000,
            Probe::Idle => 1,
        });
        usize::try_from(tasks).unwrap_or(usize::MAX)
    }

    /// Where results are kept, if anywhere.
    pub(crate) fn backend(&self) -> Option<&str> {
        match self.backend.as_deref() {
            Some("none") => None,
            Some(url) => Some(url),
            None => (Store::of(&self.broker) != Store::RabbitMq).then_some(self.broker.as_str()),
        }
    }

    /// Broker and backend, once if they are the same.
    pub(crate) fn urls(&self) -> Vec<&str> {
        let backend = self.backend().filter(|backend| *backend != self.broker);
        std::iter::once(self.broker.as_str()).chain(backend).collect()
    }

    /// Puts another URL in the place of one.
    pub(crate) fn replace_url(&mut self, old: &str, new: &str) {
        for url in [Some(&mut self.broker), self.backend.as_mut()].into_iter().flatten().filter(|url| *url == old) {
            new.clone_into(url);
        }
    }

    /// Those of broker and backend that are this store.
    pub(crate) fn urls_of(&self, store: Store) -> Vec<&str> {
        self.urls().into_iter().filter(|url| Store::of(url) == store).collect()
    }
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Probe {
    /// The cheapest honest task straight on the drivers.
    Floor,
    /// Sending tasks one by one, concurrently and in bulk.
    Enqueue,
    /// Working off tasks that wait already, with and without results.
    Drain,
    /// Storing what became of tasks, in batches.
    Save,
    /// From sending a task to holding its result.
    Latency,
    /// What a worker that has nothing to do sends.
    Idle,
    /// The bytes of a waiting and of a finished task.
    Memory,
}

/// The types of queues of RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueueType {
    /// Replicated, written to the disk before a message is confirmed.
    Quorum,
    /// On one node.
    Classic,
}

impl QueueType {
    /// As RabbitMQ calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        let words = ["windlass-bench", "drain", "--broker"].into_iter().chain(arguments.iter().copied());
        Options::try_parse_from(words).unwrap()
    }

    #[test]
    fn results_are_kept_where_tasks_wait_if_that_can_keep_them() {
        assert_eq!(options(&["redis://a"]).backend(), Some("redis://a"));
        assert_eq!(options(&["amqp://a"]).backend(), None);
        assert_eq!(options(&["redis://a", "--backend", "none"]).backend(), None);
    }

    #[test]
    fn a_server_that_is_both_is_named_once() {
        assert_eq!(options(&["redis://a"]).urls(), ["redis://a"]);
        let mixed = options(&["amqp://a", "--backend", "redis://b"]);
        assert_eq!(mixed.urls(), ["amqp://a", "redis://b"]);
        assert_eq!(mixed.urls_of(Store::Redis), ["redis://b"]);
    }
}
