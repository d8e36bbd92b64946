use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::ExecutionPolicy;
use crate::{Error, Progress, Result, Timestamp};

/// What is retried at all. A task error can still say "never" for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOn {
    /// The task returned an error.
    pub errors: bool,
    /// A run took longer than its timeout.
    pub timeouts: bool,
    /// The task panicked.
    pub panics: bool,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { errors: true, timeouts: true, panics: true }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.errors, "errors"), (self.timeouts, "timeouts"), (self.panics, "panics")];
        let names: Vec<&str> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for RetryOn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut on = Self { errors: false, timeouts: false, panics: false };
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "errors" => on.errors = true,
                "timeouts" => on.timeouts = true,
                "panics" => on.panics = true,
                _ => return Err(Error::invalid("retry-on", format_args!("{name:?}"), "errors, timeouts, panics")),
            }
        }
        Ok(on)
    }
}

/// How a run went wrong, as far as the retry decision needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The task returned an error; with the pause that it asked for, if any.
    Error {
        /// Retry after exactly this long instead of the backoff.
        retry_after: Option<Duration>,
    },
    /// The run took longer than its timeout.
    Timeout,
    /// The task panicked.
    Panic,
    /// Trying again cannot help: the task said so, or the arguments cannot be decoded.
    Permanent,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Run again after this long.
    Retry(Duration),
    /// No further run.
    GiveUp,
}

/// Decides what follows from a failure.
///
/// `progress` counts the failures *before* this one. A retry that would come after the deadline is
/// not made. `random` is from 0 to 1.
pub fn decide(
    class: FailureClass,
    progress: Progress,
    policy: &ExecutionPolicy,
    now: Timestamp,
    random: f64,
) -> Decision {
    let allowed = match class {
        FailureClass::Error { .. } => policy.retry_on.errors,
        FailureClass::Timeout => policy.retry_on.timeouts,
        FailureClass::Panic => policy.retry_on.panics,
        FailureClass::Permanent => false,
    };
    if !allowed || progress.retries_left(policy.max_retries) == 0 {
        return Decision::GiveUp;
    }
    let pause = match class {
        FailureClass::Error { retry_after: Some(pause) } => pause.min(crate::limits::DELAY),
        _ => policy.backoff.pause(progress.failures.saturating_add(1), random),
    };
    match policy.deadline {
        Some(deadline) if now.plus(pause) >= deadline => Decision::GiveUp,
        _ => Decision::Retry(pause),
    }
}
