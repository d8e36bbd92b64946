use std::fmt;
use std::time::Duration;

use crate::{IntoDuration, Result};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How a run ended that did not succeed: an error, and what should follow from it.
///
/// Any error turns into one that is retried, so that `?` works with every error type, `anyhow`'s
/// included. For the same reason it is not an error type itself.
///
/// ```
/// use windlass_core::TaskError;
/// fn parse(text: &str) -> Result<i64, TaskError> {
///     text.parse().map_err(TaskError::permanent)
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct TaskError {
    verdict: Verdict,
    cause: Option<Cause>,
}

/// What should follow from a run that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A failure; retried by the policy.
    Retry,
    /// A failure; retried after exactly this long, if retries are left.
    RetryAfter(Duration),
    /// A failure; never retried.
    Permanent,
    /// No failure: run again after this long.
    Snooze(Duration),
    /// No failure: the task ends as cancelled.
    Cancel,
}

impl TaskError {
    /// A failure that no retry can mend.
    pub fn permanent(cause: impl Into<Cause>) -> Self {
        Self { verdict: Verdict::Permanent, cause: Some(cause.into()) }
    }

    /// A failure that is retried at once, if retries are left: no back-off.
    #[doc(alias = "Retry")]
    pub fn retry_now(cause: impl Into<Cause>) -> Self {
        Self { verdict: Verdict::RetryAfter(Duration::ZERO), cause: Some(cause.into()) }
    }

    /// A failure that is retried after exactly this long, if retries are left.
    ///
    /// # Errors
    /// The span is a text that is not a span of time.
    pub fn retry_after(span: impl IntoDuration, cause: impl Into<Cause>) -> Result<Self> {
        Ok(Self { verdict: Verdict::RetryAfter(span.into_duration()?), cause: Some(cause.into()) })
    }

    /// No failure: run again after this long. Uses up no retry.
    ///
    /// # Errors
    /// The span is a text that is not a span of time.
    pub fn snooze(span: impl IntoDuration) -> Result<Self> {
        Ok(Self { verdict: Verdict::Snooze(span.into_duration()?), cause: None })
    }

    /// No failure: the task ends as cancelled, with this reason, and is not retried. YTask calls it
    /// `Abort`.
    #[doc(alias = "Abort")]
    #[doc(alias = "abort")]
    pub fn cancel(reason: impl Into<Cause>) -> Self {
        Self { verdict: Verdict::Cancel, cause: Some(reason.into()) }
    }

    /// What should follow.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The error, if there is one.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }
}

impl<E: Into<Cause>> From<E> for TaskError {
    fn from(cause: E) -> Self {
        Self { verdict: Verdict::Retry, cause: Some(cause.into()) }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, self.verdict) {
            (Some(cause), _) => fmt::Display::fmt(cause, f),
            (None, Verdict::Snooze(span)) => write!(f, "run again in {span:?}"),
            (None, verdict) => write!(f, "{verdict:?}"),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError").field("verdict", &self.verdict).field("cause", &self.cause).finish()
    }
}
