//! What can be asked for a task, at four levels.
//!
//! Built-in defaults < configuration < task (`#[task(…)]`) < call. The client decides where and
//! when a task waits (`queue`, `priority`, `delay`, `run_at`, `expires`); the worker decides how it runs and
//! what is kept. Only what the *call* asked for travels, so that a changed timeout of a task holds
//! for the tasks that already wait.

use std::time::Duration;

use serde::Deserialize;

use super::{Headers, Priority};
use crate::backend::Retention;
use crate::policy::{Backoff, RetryOn};
use crate::{Error, QueueName, Result, Timestamp, limits};

/// Options of a task. Everything is optional; [`Options::or`] fills gaps from a lower level.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The queue to wait in. Built-in: `default`.
    pub queue: Option<QueueName>,
    /// How urgent it is among those that wait in its queue. Built-in: normal.
    pub priority: Option<Priority>,
    /// Wait this long before the first run.
    pub delay: Option<Duration>,
    /// Do not run before this time. Wins over `delay`.
    pub run_at: Option<Timestamp>,
    /// Do not start later than this long after enqueueing.
    pub expires: Option<Duration>,
    /// Be finished at this time, retries included.
    pub deadline: Option<Timestamp>,
    /// Retries after the first run. Built-in: 10.
    pub max_retries: Option<u32>,
    /// The pause before each retry.
    pub backoff: Option<Backoff>,
    /// What is retried at all.
    pub retry_on: Option<RetryOn>,
    /// Stop a run after this long. Built-in: no limit.
    pub timeout: Option<Duration>,
    /// Signal a run after this long, so that it can end by itself.
    pub soft_timeout: Option<Duration>,
    /// How long the final state is kept. Built-in: one day.
    pub status_ttl: Option<Retention>,
    /// How long the result is kept. Built-in: as the state.
    pub result_ttl: Option<Retention>,
    /// Small texts that travel with the task.
    pub headers: Headers,
}

impl Options {
    /// These options, with gaps filled from `lower`. Headers of both levels are kept.
    #[must_use]
    pub fn or(&self, lower: &Self) -> Self {
        let mut headers = lower.headers.clone();
        headers.extend(self.headers.clone());
        Self {
            queue: self.queue.clone().or_else(|| lower.queue.clone()),
            priority: self.priority.or(lower.priority),
            delay: self.delay.or(lower.delay),
            run_at: self.run_at.or(lower.run_at),
            expires: self.expires.or(lower.expires),
            deadline: self.deadline.or(lower.deadline),
            max_retries: self.max_retries.or(lower.max_retries),
            backoff: self.backoff.or(lower.backoff),
            retry_on: self.retry_on.or(lower.retry_on),
            timeout: self.timeout.or(lower.timeout),
            soft_timeout: self.soft_timeout.or(lower.soft_timeout),
            status_ttl: self.status_ttl.or(lower.status_ttl),
            result_ttl: self.result_ttl.or(lower.result_ttl),
            headers,
        }
    }
}

/// Refuses headers that are too large or whose names cannot travel on every transport.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] that names the header or the sum.
pub(crate) fn check_headers(headers: &Headers) -> Result<()> {
    let mut bytes = 0;
    for (name, value) in headers {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(Error::invalid("header name", format_args!("{name:?}"), "A-Z a-z 0-9 . _ - and not empty"));
        }
        bytes += name.len() + value.len();
    }
    if bytes > limits::HEADER_BYTES {
        let allowed = format_args!("at most {} B", limits::HEADER_BYTES).to_string();
        return Err(Error::invalid("headers", format_args!("{bytes} B"), allowed));
    }
    Ok(())
}

/// Reads a span of time from `"30s"` or from a number of seconds.
///
/// # Errors
/// That of the deserializer, or that the text is not a span of time.
pub fn deserialize_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    use crate::IntoDuration;
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Seconds(i64),
        Text(String),
    }
    let text = match Raw::deserialize(deserializer)? {
        Raw::Seconds(seconds) => seconds.to_string(),
        Raw::Text(text) => text,
    };
    text.into_duration().map_err(|error| serde::de::Error::custom(error.message()))
}
