use std::time::SystemTime;

use windlass_core::{Clock, TaskId, Timestamp};

/// The clock of the system: the one place of this crate that reads the time of day.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A new id: the milliseconds of `now` and ten random bytes.
pub(crate) fn new_id(now: Timestamp) -> TaskId {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    TaskId::v7(u64::try_from(now.as_millis()).unwrap_or(0), random)
}
