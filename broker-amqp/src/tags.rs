//! Which delivery tags of a channel can be acknowledged together.

use std::collections::{BTreeMap, BTreeSet};

use crate::level::Slot;

/// The tags that the server has given out on one channel.
///
/// An acknowledgement of many covers everything below its tag, also what has not come out of the
/// driver yet. So it may only reach up to the first tag that was not seen or is not settled.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// Seen, and not settled.
    open: BTreeMap<u64, Slot>,
    /// How many of these came from each slot.
    counts: [usize; 5],
    /// All up to this one were seen.
    seen: u64,
    /// Seen beyond a gap.
    ahead: BTreeSet<u64>,
}

/// One acknowledgement: a tag, and whether it stands for all below it.
pub(crate) type Ack = (u64, bool);

impl Tags {
    /// A delivery has come.
    pub(crate) fn insert(&mut self, tag: u64, slot: Slot) {
        self.open.insert(tag, slot);
        self.counts[slot.index()] += 1;
        if tag != self.seen + 1 {
            self.ahead.insert(tag);
            return;
        }
        self.seen = tag;
        while self.ahead.remove(&(self.seen + 1)) {
            self.seen += 1;
        }
    }

    /// How many messages of a slot are not settled.
    pub(crate) fn count(&self, slot: Slot) -> usize {
        self.counts[slot.index()]
    }

    fn remove(&mut self, tag: u64) -> bool {
        let slot = self.open.remove(&tag);
        slot.iter().for_each(|slot| self.counts[slot.index()] -= 1);
        slot.is_some()
    }

    /// The fewest acknowledgements that cover these tags and no other that is open.
    pub(crate) fn settle(&mut self, mut tags: Vec<u64>) -> Vec<Ack> {
        tags.retain(|tag| self.remove(*tag));
        tags.sort_unstable();
        let below = self.open.first_key_value().map_or(u64::MAX, |(first, _)| first - 1).min(self.seen);
        let together = tags.partition_point(|tag| *tag <= below);
        let mut acks = Vec::with_capacity(tags.len() - together + 1);
        if let Some(last) = tags[..together].last() {
            acks.push((*last, together > 1));
        }
        acks.extend(tags[together..].iter().map(|tag| (*tag, false)));
        acks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(seen: &[u64]) -> Tags {
        let mut tags = Tags::default();
        seen.iter().for_each(|tag| tags.insert(*tag, Slot::Front));
        tags
    }

    #[test]
    fn what_is_settled_from_the_start_goes_together() {
        let mut tags = tags(&[1, 2, 3, 4, 5]);
        assert_eq!(tags.settle(vec![3, 1, 2]), [(3, true)]);
        assert_eq!(tags.settle(vec![4]), [(4, false)]);
        assert_eq!(tags.settle(vec![4, 99]), [], "twice, and unknown");
    }

    #[test]
    fn an_open_tag_is_never_covered() {
        let mut tags = tags(&[1, 2, 3, 4, 5]);
        assert_eq!(tags.settle(vec![1, 2, 4, 5]), [(2, true), (4, false), (5, false)]);
        assert_eq!(tags.settle(vec![3]), [(3, false)]);
    }

    #[test]
    fn a_tag_that_is_still_in_the_driver_is_never_covered() {
        let mut tags = tags(&[1, 3, 4]);
        assert_eq!(tags.settle(vec![1, 3, 4]), [(1, false), (3, false), (4, false)]);
        tags.insert(2, Slot::Front);
        tags.insert(5, Slot::Front);
        assert_eq!(tags.settle(vec![2, 5]), [(5, true)]);
    }

    #[test]
    fn random_orders_cover_exactly_what_is_settled() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut arrival: Vec<u64> = (1..=30).collect();
            random.shuffle(&mut arrival);
            let mut tags = Tags::default();
            let (mut acked, mut settled, mut seen) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            for chunk in arrival.chunks(5) {
                chunk.iter().for_each(|tag| tags.insert(*tag, Slot::Front));
                seen.extend(chunk);
                let some: Vec<u64> =
                    seen.iter().filter(|tag| !settled.contains(*tag) && random.bool()).copied().collect();
                settled.extend(&some);
                for (tag, many) in tags.settle(some) {
                    acked.extend(if many { 1..=tag } else { tag..=tag });
                }
                assert_eq!(acked, settled);
            }
        }
    }
}
