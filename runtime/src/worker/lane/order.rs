use std::fmt;
use std::str::FromStr;

use windlass_core::Error;

/// How the queues of a worker share its places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueOrder {
    /// They do not: each has places of its own, as many as its concurrency.
    #[default]
    Independent,
    /// Places that all queues share go to the queue of the greatest weight as long as it has
    /// something; queues of the same weight take turns.
    Strict,
    /// Places that all queues share are handed out in proportion to the weights of those that have
    /// something.
    Weighted,
}

impl QueueOrder {
    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Strict => "strict",
            Self::Weighted => "weighted",
        }
    }
}

impl fmt::Display for QueueOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for QueueOrder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = [Self::Independent, Self::Strict, Self::Weighted].into_iter().find(|order| order.as_str() == text);
        found.ok_or_else(|| Error::invalid("order", format_args!("{text:?}"), "independent, strict, weighted"))
    }
}

/// A queue among those that compete for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rival {
    pub(super) weight: u32,
    /// Whether it would use a place now.
    pub(super) hungry: bool,
    /// What it is owed: grows by its weight with each place that is handed out while it is hungry,
    /// and shrinks by the sum of all weights when it gets one.
    pub(super) owed: i64,
}

/// Who gets the next place, by what is called smooth weighted round robin: of weights 5, 1 and 1 the
/// order is a a b a c a a, not a a a a a b c.
pub(super) fn next(order: QueueOrder, rivals: &mut [Rival]) -> Option<usize> {
    let greatest = rivals.iter().filter(|rival| rival.hungry).map(|rival| rival.weight).max()?;
    let least = if order == QueueOrder::Strict { greatest } else { 0 };
    let mut sum = 0;
    let mut next: Option<usize> = None;
    for at in 0..rivals.len() {
        let Rival { weight, hungry, .. } = rivals[at];
        if !hungry || weight < least {
            continue;
        }
        sum += i64::from(weight);
        rivals[at].owed += i64::from(weight);
        if next.is_none_or(|best| rivals[at].owed > rivals[best].owed) {
            next = Some(at);
        }
    }
    rivals[next?].owed -= sum;
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rivals(weights: &[u32]) -> Vec<Rival> {
        weights.iter().map(|weight| Rival { weight: *weight, hungry: true, owed: 0 }).collect()
    }

    fn turns(order: QueueOrder, rivals: &mut [Rival], count: usize) -> String {
        (0..count).filter_map(|_| next(order, rivals)).map(|at| ["a", "b", "c"][at]).collect()
    }

    #[test]
    fn weighted_is_in_proportion_and_smooth() {
        let mut all = rivals(&[5, 1, 1]);
        assert_eq!(turns(QueueOrder::Weighted, &mut all, 14), "aabacaaaabacaa");
    }

    #[test]
    fn who_has_nothing_leaves_its_share_to_the_others() {
        let mut all = rivals(&[5, 2, 1]);
        all[0].hungry = false;
        assert_eq!(turns(QueueOrder::Weighted, &mut all, 6), "bcbbcb");
        all[1].hungry = false;
        assert_eq!(turns(QueueOrder::Weighted, &mut all, 3), "ccc");
        all[2].hungry = false;
        assert_eq!(next(QueueOrder::Weighted, &mut all), None);
    }

    #[test]
    fn strict_serves_the_greatest_weight_and_turns_among_equals() {
        let mut all = rivals(&[1, 2, 2]);
        assert_eq!(turns(QueueOrder::Strict, &mut all, 4), "bcbc");
        (all[1].hungry, all[2].hungry) = (false, false);
        assert_eq!(turns(QueueOrder::Strict, &mut all, 2), "aa");
        all[2].hungry = true;
        assert_eq!(turns(QueueOrder::Strict, &mut all, 2), "cc");
    }

    /// Whatever the weights, over a whole round each gets exactly its weight.
    #[test]
    fn a_round_holds_each_as_often_as_its_weight() {
        for weights in [[1, 1, 1], [3, 2, 1], [7, 1, 4], [1, 9, 9]] {
            let mut all = rivals(&weights);
            let mut got = [0; 3];
            for _ in 0..weights.iter().sum::<u32>() {
                got[next(QueueOrder::Weighted, &mut all).expect("all are hungry")] += 1;
            }
            assert_eq!(got, weights);
            assert!(all.iter().all(|rival| rival.owed == 0));
        }
    }

    #[test]
    fn the_names_are_read_or_refused() {
        for order in [QueueOrder::Independent, QueueOrder::Strict, QueueOrder::Weighted] {
            assert_eq!(order.to_string().parse::<QueueOrder>().expect("a name"), order);
        }
        let error = "random".parse::<QueueOrder>().expect_err("no name").to_string();
        assert_eq!(error, "order: \"random\" is not allowed: independent, strict, weighted");
    }
}
