use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::limits::{PAYLOAD_BYTES, PAYLOAD_BYTES_HARD};
use windlass_core::policy::PriorityOrder;
use windlass_core::{Error, Options, QueueName, Result};

use super::lane::QueueOrder;

/// Most tasks of a queue, and of a worker whose queues share its places, that run at the same time.
const PLACES: usize = 10_000;
/// The greatest weight of a queue.
const WEIGHT: u32 = 1_000;

/// What a worker does wherever task and call do not say otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// Tasks of one queue that run at the same time, where the queue does not say. 1 to 10,000.
    pub concurrency: usize,
    /// Queues and how many of their tasks run at the same time; empty means `default`.
    pub queues: BTreeMap<String, usize>,
    /// How the priorities of one queue are ordered.
    pub priorities: PriorityOrder,
    /// How the queues share the places of the worker.
    pub order: QueueOrder,
    /// Tasks of all queues that run at the same time, where they share their places. 1 to 10,000.
    pub total: Option<usize>,
    /// How much each queue counts where they share their places, 1 to 1,000; where nothing is said, 1.
    pub weights: BTreeMap<String, u32>,
    /// How long a claim lasts unless it is extended; a lost worker is noticed after this. 100 ms to 1 h.
    pub lease: Duration,
    /// How long running tasks may go on at shutdown.
    pub grace: Duration,
    /// How long a running task that was cancelled may go on after it was told.
    pub cancel_grace: Duration,
    /// At this many lost workers a task goes to the dead letters; at least 1.
    pub max_losses: u32,
    /// Options of the configuration level.
    pub defaults: Options,
    /// Largest result in bytes.
    pub payload_limit: usize,
    /// Where the stores are, for the line that a worker logs at its start. Never with a password.
    pub addresses: Addresses,
    /// Extend leases on the runtime of the worker instead of on a thread of its own. For tests
    /// with a clock of their own; in production a blocked runtime would lose its leases.
    pub lease_on_runtime: bool,
}

/// Where the stores of a worker are, as far as it is known, without user and password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where tasks wait.
    pub broker: Option<String>,
    /// Where results are kept.
    pub backend: Option<String>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 100,
            queues: BTreeMap::new(),
            priorities: PriorityOrder::default(),
            order: QueueOrder::default(),
            total: None,
            weights: BTreeMap::new(),
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(25),
            cancel_grace: Duration::from_secs(5),
            max_losses: 3,
            defaults: Options::default(),
            payload_limit: PAYLOAD_BYTES,
            addresses: Addresses::default(),
            lease_on_runtime: false,
        }
    }
}

impl WorkerSettings {
    /// Checks every value, and gives the queues with their concurrency.
    ///
    /// # Errors
    /// `Invalid` with the key, the value and what is allowed.
    pub fn check(&self) -> Result<Vec<(QueueName, usize)>> {
        within("worker.lease", self.lease, Duration::from_millis(100), Duration::from_secs(3600))?;
        within("worker.grace", self.grace, Duration::ZERO, Duration::from_secs(86_400))?;
        within("worker.cancel_grace", self.cancel_grace, Duration::ZERO, Duration::from_secs(3600))?;
        if !(1..=PAYLOAD_BYTES_HARD).contains(&self.payload_limit) {
            return Err(Error::invalid(
                "limits.payload",
                self.payload_limit,
                format_args!("1 to {PAYLOAD_BYTES_HARD} bytes"),
            ));
        }
        if self.max_losses == 0 {
            return Err(Error::invalid("worker.max_losses", 0, "at least 1"));
        }
        let queues = self.checked_queues()?;
        self.check_order(&queues)?;
        Ok(queues)
    }

    fn checked_queues(&self) -> Result<Vec<(QueueName, usize)>> {
        let fallback = places("worker.concurrency", self.concurrency)?;
        if self.queues.is_empty() {
            return Ok(vec![(QueueName::default(), fallback)]);
        }
        let queue = |(queue, concurrency): (&String, &usize)| {
            let name =
                QueueName::new(queue).map_err(|error| Error::new(error.kind(), "worker.queues", error.message()))?;
            let concurrency = places("worker.queues", *concurrency).map_err(|error| error.with("queue", queue))?;
            Ok((name, concurrency))
        };
        self.queues.iter().map(queue).collect()
    }

    /// Refuses an order that says less, or more, than it needs.
    fn check_order(&self, queues: &[(QueueName, usize)]) -> Result<()> {
        for (queue, weight) in &self.weights {
            if !queues.iter().any(|(known, _)| known.as_str() == queue) {
                let known: Vec<&str> = queues.iter().map(|(queue, _)| queue.as_str()).collect();
                let allowed = format!("queues that this worker serves, which are {}", known.join(", "));
                return Err(Error::invalid("worker.weights", format_args!("{queue:?}"), allowed));
            }
            if !(1..=WEIGHT).contains(weight) {
                let error = Error::invalid("worker.weights", weight, format_args!("1 to {WEIGHT}"));
                return Err(error.with("queue", queue));
            }
        }
        match (self.order, self.total) {
            (QueueOrder::Independent, Some(total)) => {
                Err(Error::invalid("worker.total", total, "only where worker.order is strict or weighted"))
            }
            (QueueOrder::Independent, None) if !self.weights.is_empty() => {
                let weights = format!("{:?}", self.weights);
                Err(Error::invalid("worker.weights", weights, "only where worker.order is strict or weighted"))
            }
            (QueueOrder::Independent, None) => Ok(()),
            (order, None) => {
                let allowed = format!("1 to {PLACES} places for all queues, which worker.order = {order} needs");
                Err(Error::invalid("worker.total", "no number", allowed))
            }
            (order, Some(total)) => places("worker.total", total).and_then(|_| self.check_weights(order, queues)),
        }
    }

    fn check_weights(&self, order: QueueOrder, queues: &[(QueueName, usize)]) -> Result<()> {
        let mut weights = queues.iter().map(|(queue, _)| self.weight(queue));
        let first = weights.next();
        if order == QueueOrder::Strict && queues.len() > 1 && weights.all(|weight| Some(weight) == first) {
            let allowed = "weights of which at least two differ: the queue of the greatest goes first";
            return Err(Error::invalid("worker.weights", format_args!("{:?} with strict", self.weights), allowed));
        }
        Ok(())
    }

    pub(super) fn weight(&self, queue: &QueueName) -> u32 {
        self.weights.get(queue.as_str()).copied().unwrap_or(1)
    }
}

fn places(key: &'static str, value: usize) -> Result<usize> {
    match value {
        1..=PLACES => Ok(value),
        _ => Err(Error::invalid(key, value, format_args!("1 to {PLACES}"))),
    }
}

fn within(field: &'static str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(field, format_args!("{value:?}"), format_args!("{least:?} to {most:?}")))
}
