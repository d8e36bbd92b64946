use std::time::Duration;

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
