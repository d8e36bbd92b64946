//! What can be configured. `windlass.reference.toml` names every key with its default.

mod adapter;
mod defaults;
#[cfg(feature = "config")]
mod load;
mod queue;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use windlass_core::limits::{PAYLOAD_BYTES, PAYLOAD_BYTES_HARD};
use windlass_core::message::options::deserialize_duration;
use windlass_core::policy::PriorityOrder;
use windlass_core::{Error, Options, Result};
use windlass_runtime::{QueueOrder, WorkerSettings};

pub use adapter::AdapterConfig;
pub use defaults::DefaultsConfig;
pub use queue::QueueConfig;
pub(crate) use queue::limits;

/// The configuration of an application.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where tasks wait.
    pub broker: AdapterConfig,
    /// Where results are kept; by default where tasks wait.
    pub backend: Option<AdapterConfig>,
    /// Where tasks wait that are enqueued in a transaction of the application (feature `postgres`).
    pub outbox: Option<AdapterConfig>,
    /// How workers work.
    pub worker: WorkerConfig,
    /// What holds for single queues, for those who send.
    pub queues: BTreeMap<String, QueueConfig>,
    /// Tasks that come again and again (feature `periodic`).
    pub periodic: Vec<crate::periodic::PeriodicConfig>,
    /// Options of tasks that say nothing else.
    pub defaults: DefaultsConfig,
    /// What is refused.
    pub limits: LimitsConfig,
}

/// How workers work: the section `worker`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// Tasks of one queue that run at the same time, where the queue does not say. 1 to 10,000.
    pub concurrency: usize,
    /// Queues to serve, and how many of their tasks run at the same time.
    pub queues: BTreeMap<String, usize>,
    /// How long a claim lasts unless it is extended.
    #[serde(deserialize_with = "deserialize_duration")]
    pub lease: Duration,
    /// How long running tasks may go on at shutdown.
    #[serde(deserialize_with = "deserialize_duration")]
    pub grace: Duration,
    /// How long a running task that somebody has cancelled may still go on after it was told.
    #[serde(deserialize_with = "deserialize_duration")]
    pub cancel_grace: Duration,
    /// At this many lost workers a task goes to the dead letters; at least 1.
    pub max_losses: u32,
    /// How the priorities of one queue are ordered: `aging` or `strict`.
    #[serde(deserialize_with = "queue::named")]
    pub priorities: PriorityOrder,
    /// How the queues share the places of a worker: `independent`, `strict` or `weighted`.
    #[serde(deserialize_with = "queue::named")]
    pub order: QueueOrder,
    /// Tasks of all queues that run at the same time, where they share their places. 1 to 10,000.
    pub total: Option<usize>,
    /// How much each queue counts where they share their places.
    pub weights: BTreeMap<String, u32>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let WorkerSettings { concurrency, queues, lease, grace, cancel_grace, max_losses, .. } =
            WorkerSettings::default();
        let WorkerSettings { priorities, order, total, weights, .. } = WorkerSettings::default();
        Self { concurrency, queues, lease, grace, cancel_grace, max_losses, priorities, order, total, weights }
    }
}

impl WorkerConfig {
    pub(crate) fn settings(&self, defaults: &Options, payload_limit: usize) -> Result<WorkerSettings> {
        let mut settings = WorkerSettings::default();
        settings.concurrency = self.concurrency;
        settings.queues.clone_from(&self.queues);
        settings.lease = self.lease;
        settings.grace = self.grace;
        settings.cancel_grace = self.cancel_grace;
        settings.max_losses = self.max_losses;
        settings.priorities = self.priorities;
        settings.order = self.order;
        settings.total = self.total;
        settings.weights.clone_from(&self.weights);
        settings.defaults = defaults.clone();
        settings.payload_limit = payload_limit;
        settings.check()?;
        Ok(settings)
    }
}

/// What is refused: the section `limits`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// Largest payload (arguments or result) in bytes; at most 16 MiB.
    pub payload: usize,
    /// How long an id that a caller chose is remembered after the task is finished.
    #[serde(deserialize_with = "deserialize_duration")]
    pub remember: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { payload: PAYLOAD_BYTES, remember: Duration::from_secs(3600) }
    }
}

impl LimitsConfig {
    pub(crate) fn checked_payload(&self) -> Result<usize> {
        if (1..=PAYLOAD_BYTES_HARD).contains(&self.payload) {
            return Ok(self.payload);
        }
        Err(Error::invalid("limits.payload", self.payload, format_args!("1 to {PAYLOAD_BYTES_HARD} bytes")))
    }
}
