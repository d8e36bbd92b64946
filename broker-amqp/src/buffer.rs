//! What has come from the server and waits for a fetch, and how a fetch shares its places.

use std::collections::VecDeque;

use tokio::time::Instant;
use windlass_core::{Priority, Reserve};

use crate::level::{Slot, rank};
use crate::state::Held;

const LEVELS: usize = Priority::ALL.len();

/// What has come and was not fetched: for each level first what goes to its head.
#[derive(Debug, Default)]
pub(crate) struct Buffer([VecDeque<Held>; 2 * LEVELS]);

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(VecDeque::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(VecDeque::is_empty)
    }

    pub(crate) fn push(&mut self, held: Held) {
        let place = 2 * rank(held.level) + usize::from(held.slot != Slot::Front);
        self.0[place].push_back(held);
    }

    /// At the head of their level, in this order.
    pub(crate) fn push_heads(&mut self, all: Vec<Held>) {
        for held in all.into_iter().rev() {
            self.0[2 * rank(held.level)].push_front(held);
        }
    }

    /// How many of `max` each level gets: first what is kept for it, then the most urgent takes all.
    pub(crate) fn shares(&self, max: usize, reserve: Reserve) -> Shares {
        if reserve.is_none() {
            return Shares::Strict(max);
        }
        let mut left = max;
        let mut shares = [0; LEVELS];
        for (share, (waiting, kept)) in shares.iter_mut().zip(self.waiting().zip(kept(reserve))) {
            *share = kept.min(waiting).min(left);
            left -= *share;
        }
        for (share, waiting) in shares.iter_mut().zip(self.waiting()) {
            let more = left.min(waiting - *share);
            *share += more;
            left -= more;
        }
        Shares::Kept(shares)
    }

    /// Whether there is something for every place that is kept.
    pub(crate) fn holds(&self, reserve: Reserve) -> bool {
        reserve.is_none() || self.waiting().zip(kept(reserve)).all(|(waiting, kept)| waiting >= kept)
    }

    /// How many wait at each level.
    fn waiting(&self) -> impl Iterator<Item = usize> {
        self.0.chunks(2).map(|level| level.iter().map(VecDeque::len).sum())
    }

    /// The next of its share.
    pub(crate) fn pop(&mut self, shares: &mut Shares) -> Option<Held> {
        match shares {
            Shares::Strict(0) => None,
            Shares::Strict(left) => {
                *left -= 1;
                self.0.iter_mut().find_map(VecDeque::pop_front)
            }
            Shares::Kept(shares) => {
                let rank = shares.iter().position(|share| *share > 0)?;
                shares[rank] -= 1;
                self.0[2 * rank..2 * rank + 2].iter_mut().find_map(VecDeque::pop_front)
            }
        }
    }

    /// All of them, the most urgent first.
    pub(crate) fn drain(&mut self) -> Vec<Held> {
        self.0.iter_mut().flat_map(|queue| queue.drain(..)).collect()
    }

    /// The slots that must be consumed before this buffer tells what is the most urgent.
    pub(crate) fn more_urgent_than_all(&self, max: usize) -> usize {
        let mut count = 0;
        for (place, held) in self.0.iter().enumerate() {
            count += held.len();
            if count >= max {
                return Slot::Level(Priority::Critical).index() + place / 2;
            }
        }
        Slot::ALL.len()
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.0.iter().flatten().map(|held| held.since).min()
    }

    /// All begin to wait anew.
    pub(crate) fn refresh(&mut self) {
        self.0.iter_mut().flatten().for_each(|held| held.since = Instant::now());
    }

    /// What has come before this time, and whatever goes before it at its level: together they keep
    /// their order.
    pub(crate) fn take_stale(&mut self, before: Instant) -> Vec<Held> {
        let mut stale = Vec::new();
        for level in self.0.chunks_mut(2) {
            let is_stale = |held: &Held| held.since <= before;
            let count = level.iter().flatten().count();
            let last = level.iter().flatten().rev().position(is_stale);
            let mut left = last.map_or(0, |fresh| count - fresh);
            for queue in level {
                let taken = left.min(queue.len());
                stale.extend(queue.drain(..taken));
                left -= taken;
            }
        }
        stale
    }
}

/// What a fetch still takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shares {
    /// So many, the most urgent first.
    Strict(usize),
    /// So many of each level, the most urgent level first.
    Kept([usize; LEVELS]),
}

/// The places that are kept for each level, the most urgent first.
fn kept(reserve: Reserve) -> impl Iterator<Item = usize> {
    Priority::ALL.into_iter().rev().map(move |priority| reserve.of(priority))
}

#[cfg(test)]
mod tests {
    use windlass_core::Priority::{Critical, High, Low, Normal};
    use windlass_core::{Progress, TaskId, Token};

    use super::*;
    use crate::envelope::{Letter, Stamp};

    /// A buffer with these messages, each named by its place in the list.
    fn buffer(levels: &[Priority]) -> Buffer {
        let mut buffer = Buffer::default();
        for (number, level) in levels.iter().enumerate() {
            let id = TaskId::new(number.to_string()).unwrap();
            let stamp = Stamp::fresh();
            let letter = Letter { id, stamp, returns: 0, redelivered: false, bytes: "".into() };
            let (token, progress) = (Token(1), Progress::default());
            let (level, slot, since) = (*level, Slot::Level(*level), Instant::now());
            buffer.push(Held { letter, tag: 1, token, progress, level, slot, since });
        }
        buffer
    }

    /// Which of them a fetch takes, by their place in the list.
    fn taken(levels: &[Priority], max: usize, reserve: Reserve) -> Vec<usize> {
        let mut buffer = buffer(levels);
        let mut shares = buffer.shares(max, reserve);
        let taken = std::iter::from_fn(|| buffer.pop(&mut shares));
        taken.map(|held| held.letter.id.to_string().parse().unwrap()).collect()
    }

    #[test]
    fn what_is_kept_for_a_level_comes_from_its_head_and_in_order_of_urgency() {
        let waiting = [Low, Low, High, High, High, Normal, Critical];
        let low = Reserve::NONE.with(Low, 1);
        let table = [
            (3, Reserve::NONE, vec![6, 2, 3]),
            (3, low, vec![6, 2, 0]),
            (1, low, vec![0]),
            (3, low.with(Normal, 5), vec![6, 5, 0]),
            (2, low.with(Low, 9), vec![0, 1]),
            (3, Reserve::NONE.with(Critical, 9), vec![6, 2, 3]),
            (9, low.with(High, 2), vec![6, 2, 3, 4, 5, 0, 1]),
            (1, low.with(High, 1), vec![2]),
            (0, low, vec![]),
        ];
        for (max, reserve, expected) in table {
            assert_eq!(taken(&waiting, max, reserve), expected, "{max} {reserve:?}");
        }
        assert_eq!(taken(&[High, High, High], 2, low), [0, 1], "nobody is there for the place that is kept");
    }

    #[test]
    fn nothing_is_planned_where_nothing_is_kept() {
        assert_eq!(buffer(&[Low, High]).shares(7, Reserve::NONE), Shares::Strict(7));
    }

    #[test]
    fn it_knows_whether_it_holds_what_places_are_kept_for() {
        let buffer = buffer(&[Low, High]);
        assert!(buffer.holds(Reserve::NONE) && buffer.holds(Reserve::NONE.with(Low, 1).with(High, 1)));
        assert!(!buffer.holds(Reserve::NONE.with(Low, 2)) && !buffer.holds(Reserve::NONE.with(Normal, 1)));
    }
}
