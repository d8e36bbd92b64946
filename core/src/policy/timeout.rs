use std::time::Duration;

use super::ExecutionPolicy;
use crate::Timestamp;

/// How long one run may take, counted from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Signal it after this long.
    pub soft: Option<Duration>,
    /// Stop it after this long.
    pub hard: Option<Duration>,
}

/// The limits of a run that starts `now`: the timeout or the time left until the deadline,
/// whichever is shorter. A soft limit that is not shorter than the hard one is dropped.
pub fn limits(policy: &ExecutionPolicy, now: Timestamp) -> Limits {
    let left = policy.deadline.map(|deadline| deadline.since(now));
    let hard = match (policy.timeout, left) {
        (Some(timeout), Some(left)) => Some(timeout.min(left)),
        (timeout, left) => timeout.or(left),
    };
    let soft = policy.soft_timeout.filter(|soft| hard.is_none_or(|hard| *soft < hard));
    Limits { soft, hard }
}
