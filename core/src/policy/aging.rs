use std::fmt;
use std::str::FromStr;

use crate::{Error, Priority, Reserve};

/// How a worker orders the priorities of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PriorityOrder {
    /// The most urgent first, but of each 16 places one is kept for each of the less urgent levels.
    #[default]
    Aging,
    /// The most urgent first, whatever else waits and for how long.
    Strict,
}

impl PriorityOrder {
    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aging => "aging",
            Self::Strict => "strict",
        }
    }
}

impl fmt::Display for PriorityOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PriorityOrder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = [Self::Aging, Self::Strict].into_iter().find(|order| order.as_str() == text);
        found.ok_or_else(|| Error::invalid("priorities", format_args!("{text:?}"), "aging, strict"))
    }
}

/// Places after which the pattern begins anew.
const ROUND: u64 = 16;
/// Which place of a round is kept for which level. They lie apart and late, so that a worker that has
/// just started takes what is urgent first.
const KEPT: [(Priority, u64); 3] = [(Priority::High, 5), (Priority::Normal, 10), (Priority::Low, 15)];

/// The places of a fetch that are kept for the less urgent, for the `max` places that follow after
/// `turn` earlier ones.
///
/// # Why places and not clocks
/// A task could become more urgent the longer it waits. A store would have to move it from level to
/// level then, which costs a write for each task and a look at each clock, and a wrong clock could
/// put anything first. Places that are kept cost nothing where nothing less urgent waits (who is more
/// urgent takes them), ask nothing of a store but to take from several levels, and bound the waiting
/// by a number that can be told: a task is taken at the latest when a worker has taken 16 tasks of the
/// queue for it, and 16 for each one of its level that came before it.
///
/// `turn` is a number that the caller counts up by the places that were used; the same numbers give
/// the same answer.
///
/// ```
/// use windlass_core::policy::{PriorityOrder, reserve};
/// use windlass_core::Priority;
///
/// let kept = reserve(PriorityOrder::Aging, 32, 0);
/// assert_eq!([Priority::Low, Priority::Normal, Priority::High].map(|level| kept.of(level)), [2, 2, 2]);
/// assert_eq!(reserve(PriorityOrder::Aging, 1, 15).of(Priority::Low), 1);
/// assert!(reserve(PriorityOrder::Strict, 32, 0).is_none());
/// ```
pub fn reserve(order: PriorityOrder, max: usize, turn: u64) -> Reserve {
    if order == PriorityOrder::Strict {
        return Reserve::NONE;
    }
    let first = turn % ROUND;
    let end = first.saturating_add(max as u64);
    let keep = |reserve: Reserve, (level, place): (Priority, u64)| {
        // The places before `n` that have this number in their round.
        let before = |n: u64| n.saturating_add(ROUND - 1 - place) / ROUND;
        let places = before(end) - before(first);
        reserve.with(level, usize::try_from(places).unwrap_or(max))
    };
    KEPT.into_iter().fold(Reserve::NONE, keep)
}
