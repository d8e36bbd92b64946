use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses between attempts during an outage: 50 ms doubled up to 5 s, with full jitter, so that
/// the relays of a fleet do not come back together.
#[derive(Debug, Default)]
pub(super) struct Pause(u32);

impl Pause {
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.0.min(16)).min(LONGEST);
        self.0 = self.0.saturating_add(1);
        ceiling.mul_f64(0.1 + 0.9 * fastrand::f64())
    }

    /// How many attempts have failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.0
    }

    /// Whether this failure is worth a log line: the first, then every sixteenth.
    pub(super) fn is_news(&self) -> bool {
        self.0.is_multiple_of(16)
    }
}
