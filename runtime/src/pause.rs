use std::time::Duration;

use tokio::time::timeout;
use windlass_core::{Error, ErrorKind, Result};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// The pauses between attempts to reach a store: 50 ms doubled up to 2 s, with full jitter, so
/// that the workers of a fleet do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Pause(u32);

impl Pause {
    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.0.min(16)).min(LONGEST);
        self.0 += 1;
        ceiling.mul_f64(0.1 + 0.9 * fastrand::f64())
    }

    /// Whether this failure is worth a log line: the first, then every eighth.
    pub(crate) fn is_news(&self) -> bool {
        self.0.is_multiple_of(8)
    }
}

/// The longest that any call of a store may take. Adapters have shorter limits of their own; this
/// one keeps a worker going beside an adapter that never answers.
const CALL: Duration = Duration::from_secs(30);

/// Gives up a call that is not answered.
///
/// # Errors
/// That of the call, or `Unknown`.
pub(crate) async fn in_time<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    within(CALL, operation, call).await
}

/// As [`in_time`], with another limit.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let silent = |_| Err(Error::new(ErrorKind::Unknown, operation, format!("no answer within {limit:?}")));
    timeout(limit, call).await.unwrap_or_else(silent)
}
