//! Which places of a fetch are kept for the less urgent.

use proptest::collection::vec;
use proptest::prelude::*;
use windlass_core::policy::{PriorityOrder, reserve};
use windlass_core::{Priority, Reserve};

const LESS: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

/// What is kept in fetches of these sizes, one after the other.
fn fetches(start: u64, sizes: &[usize]) -> Vec<Reserve> {
    let mut turn = start;
    let mut fetch = |size: &usize| {
        let kept = reserve(PriorityOrder::Aging, *size, turn);
        turn = turn.wrapping_add(*size as u64);
        kept
    };
    sizes.iter().map(&mut fetch).collect()
}

fn sum(kept: &[Reserve], level: Priority) -> usize {
    kept.iter().map(|kept| kept.of(level)).sum()
}

#[test]
fn one_place_at_a_time_each_level_has_its_turn() {
    let round = fetches(0, &[1; 16]);
    let turns = |level| round.iter().position(|kept| kept.of(level) == 1);
    assert_eq!(LESS.map(turns), [Some(15), Some(10), Some(5)]);
    assert_eq!(LESS.map(|level| sum(&round, level)), [1, 1, 1]);
    assert_eq!(round.iter().filter(|kept| kept.is_none()).count(), 13);
}

#[test]
fn strict_keeps_nothing() {
    assert!((0..100).all(|turn| reserve(PriorityOrder::Strict, 200, turn).is_none()));
    assert!(reserve(PriorityOrder::Aging, 0, 5).is_none());
    assert_eq!(PriorityOrder::default(), PriorityOrder::Aging);
}

#[test]
fn the_names_are_read_or_refused() {
    for order in [PriorityOrder::Aging, PriorityOrder::Strict] {
        assert_eq!(order.to_string().parse::<PriorityOrder>().unwrap(), order);
    }
    let error = "fair".parse::<PriorityOrder>().unwrap_err().to_string();
    assert_eq!(error, "priorities: \"fair\" is not allowed: aging, strict");
}

proptest! {
    #[test]
    fn each_level_gets_its_share_and_no_more(start in any::<u64>(), sizes in vec(0..=1000_usize, 0..200)) {
        let kept = fetches(start, &sizes);
        let places: usize = sizes.iter().sum();
        for level in LESS {
            let share = sum(&kept, level);
            prop_assert!(share + 1 >= places / 16, "{level} has {share} of {places}");
            prop_assert!(share <= places / 16 + 1, "{level} has {share} of {places}");
        }
        prop_assert_eq!(sum(&kept, Priority::Critical), 0, "it takes what is left");
    }

    #[test]
    fn the_most_urgent_keeps_the_most_of_every_fetch(turn in any::<u64>(), max in 0..=5000_usize) {
        let kept = reserve(PriorityOrder::Aging, max, turn);
        let less: usize = LESS.iter().map(|level| kept.of(*level)).sum();
        prop_assert!(less <= max);
        prop_assert!(max < 16 || max - less > max / 2, "{less} of {max}");
    }

    #[test]
    fn how_the_places_are_cut_into_fetches_makes_no_difference(start in 0..u64::MAX / 2, sizes in vec(0..=64_usize, 0..50)) {
        let all: usize = sizes.iter().sum();
        let (parts, whole) = (fetches(start, &sizes), fetches(start, &[all]));
        for level in LESS {
            prop_assert_eq!(sum(&parts, level), sum(&whole, level));
        }
    }
}
