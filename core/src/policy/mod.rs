//! When a task is tried again and how long a run may take: pure functions of their inputs.

mod aging;
mod backoff;
mod retry;
mod timeout;

use std::time::Duration;

pub use aging::{PriorityOrder, reserve};
pub use backoff::{Backoff, Growth};
pub use retry::{Decision, FailureClass, RetryOn, decide};
pub use timeout::{Limits, limits};

use crate::{Options, Retention, Timestamp};

/// How one task runs: the options of all levels with the gaps filled by the built-in defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionPolicy {
    /// Retries after the first run.
    pub max_retries: u32,
    /// The pause before each retry.
    pub backoff: Backoff,
    /// What is retried at all.
    pub retry_on: RetryOn,
    /// Stop a run after this long.
    pub timeout: Option<Duration>,
    /// Signal a run after this long.
    pub soft_timeout: Option<Duration>,
    /// Be finished at this time, retries included.
    pub deadline: Option<Timestamp>,
    /// Do not start later than this.
    pub expires_at: Option<Timestamp>,
    /// Lost workers after which a task is poison: it goes to the dead letters instead of a further worker.
    pub max_losses: u32,
    /// Times that a task may ask to run later without an error.
    pub max_snoozes: u32,
    /// Times that a message which no worker can handle yet is put back.
    pub max_parks: u32,
    /// The pause before a message that no worker could handle is offered again.
    pub park_delay: Duration,
    /// How long the final state is kept.
    pub status_ttl: Retention,
    /// How long the result is kept.
    pub result_ttl: Retention,
}

impl Default for ExecutionPolicy {
    fn default() -> Self {
        Self {
            max_retries: 10,
            backoff: Backoff::default(),
            retry_on: RetryOn::default(),
            timeout: None,
            soft_timeout: None,
            deadline: None,
            expires_at: None,
            max_losses: 3,
            max_snoozes: 100,
            max_parks: 10,
            park_delay: Duration::from_secs(30),
            status_ttl: Retention::For(Duration::from_secs(86_400)),
            result_ttl: Retention::For(Duration::from_secs(86_400)),
        }
    }
}

impl ExecutionPolicy {
    /// This policy with everything that `options` names; `enqueued_at` anchors `expires`.
    /// A result is never kept longer than the state, and as long as the state where only that is named.
    #[must_use]
    pub fn with(&self, options: &Options, enqueued_at: Timestamp) -> Self {
        let status_ttl = options.status_ttl.unwrap_or(self.status_ttl);
        let result_ttl =
            options.result_ttl.unwrap_or(if options.status_ttl.is_some() { status_ttl } else { self.result_ttl });
        Self {
            max_retries: options.max_retries.unwrap_or(self.max_retries),
            backoff: options.backoff.unwrap_or(self.backoff),
            retry_on: options.retry_on.unwrap_or(self.retry_on),
            timeout: options.timeout.or(self.timeout),
            soft_timeout: options.soft_timeout.or(self.soft_timeout),
            deadline: options.deadline.or(self.deadline),
            expires_at: options.expires.map(|span| enqueued_at.plus(span)).or(self.expires_at),
            status_ttl,
            result_ttl: result_ttl.min(status_ttl),
            ..*self
        }
    }
}
