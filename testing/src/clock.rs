//! Clocks for tests: one that is set by hand, one that follows tokio's, which a test can pause.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use windlass_core::{Clock, Timestamp};

/// A clock that stands still until it is moved.
///
/// ```
/// use std::time::Duration;
/// use windlass_core::{Clock, Timestamp};
/// use windlass_testing::ManualClock;
/// let clock = ManualClock::new(Timestamp::from_micros(0));
/// clock.advance(Duration::from_secs(3));
/// assert_eq!(clock.now().as_millis(), 3_000);
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Moves it forward.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    /// Sets it, backward too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The time of the tokio runtime that asks.
///
/// It is the real time, unless the runtime's clock is paused (`#[tokio::test(start_paused = true)]`):
/// then it stands still while anything runs and jumps when everything waits. All clocks of this type
/// agree within one runtime, whenever they were made.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        // One anchor for the program: with an anchor of its own, a clock that is made after the
        // virtual time has jumped would be behind the others.
        static ANCHOR: OnceLock<(Instant, Timestamp)> = OnceLock::new();
        let (instant, timestamp) = *ANCHOR.get_or_init(|| (Instant::now(), SystemTime::now().into()));
        let now = tokio::time::Instant::now().into_std();
        match now.checked_duration_since(instant) {
            Some(after) => timestamp.plus(after),
            None => {
                let before = i64::try_from((instant - now).as_micros()).unwrap_or(i64::MAX);
                Timestamp::from_micros(timestamp.as_micros().saturating_sub(before))
            }
        }
    }
}
