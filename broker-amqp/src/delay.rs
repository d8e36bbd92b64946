//! Delays without a plugin: a ladder of queues, each of which holds a message for a fixed time and
//! then passes it down.
//!
//! The delay in whole seconds is written in binary into the routing key, the highest digit first, in
//! front of the destination: `0.0.….1.0.1.windlass.mail.normal` is 5 s. The exchange of each rung
//! looks at one digit: 1 goes through the queue of the rung, 0 goes on to the next rung at once. All
//! messages in a queue wait for the same time, so the head is always the next one due. A message
//! passes at most one rung a digit.
//!
//! A server keeps a message in a queue for at most 2^32 ms, so the two longest rungs are chains of
//! queues of 2^22 s.

use std::time::Duration;

/// Binary digits of a delay.
pub(crate) const BITS: u32 = 25;
/// Longest delay in seconds: 388 days.
pub(crate) const LONGEST: u32 = (1 << BITS) - 1;
/// The highest rung that one queue can hold.
const LONGEST_RUNG: u32 = 22;

/// A delay in whole seconds, never less than the span; 0 for none.
pub(crate) fn seconds(delay: Duration) -> u32 {
    let whole = delay.as_nanos().div_ceil(1_000_000_000);
    u32::try_from(whole).unwrap_or(LONGEST).min(LONGEST)
}

/// The rung that a delay begins at.
pub(crate) const fn first_rung(seconds: u32) -> u32 {
    seconds.ilog2()
}

/// How many queues a rung has.
pub(crate) const fn parts(rung: u32) -> u32 {
    if rung <= LONGEST_RUNG { 1 } else { 1 << (rung - LONGEST_RUNG) }
}

/// How long each queue of a rung holds a message.
pub(crate) const fn ttl(rung: u32) -> Duration {
    let rung = if rung <= LONGEST_RUNG { rung } else { LONGEST_RUNG };
    Duration::from_secs(1 << rung)
}

/// The routing key of a delayed message.
pub(crate) fn key(seconds: u32, destination: &str) -> String {
    let mut key = String::with_capacity(2 * BITS as usize + destination.len());
    for bit in (0..BITS).rev() {
        key.push_str(if seconds >> bit & 1 == 1 { "1." } else { "0." });
    }
    key.push_str(destination);
    key
}

/// What the exchange of a rung looks for: this digit.
pub(crate) fn digit(rung: u32, one: bool) -> String {
    let skipped = "*.".repeat((BITS - 1 - rung) as usize);
    format!("{skipped}{}.#", u8::from(one))
}

/// What the last exchange looks for: this destination.
pub(crate) fn destination(queue: &str) -> String {
    format!("{}{queue}", "*.".repeat(BITS as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Topic matching as the server does it.
    fn matches(pattern: &str, key: &str) -> bool {
        fn words(pattern: &[&str], key: &[&str]) -> bool {
            match (pattern.split_first(), key.split_first()) {
                (None, None) => true,
                (Some((&"#", rest)), _) => (0..=key.len()).any(|skip| words(rest, &key[skip..])),
                (Some((word, rest)), Some((first, others))) => (*word == "*" || word == first) && words(rest, others),
                _ => false,
            }
        }
        words(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>())
    }

    /// Walks down the ladder; answers how long that takes and how many queues it passes.
    fn walk(seconds: u32) -> (Duration, u32) {
        let key = key(seconds, "windlass.mail.normal");
        let (mut waited, mut queues) = (Duration::ZERO, 0);
        for rung in (0..=first_rung(seconds)).rev() {
            let (one, zero) = (matches(&digit(rung, true), &key), matches(&digit(rung, false), &key));
            assert_ne!(one, zero, "each rung has one way: {seconds} at {rung}");
            if one {
                waited += ttl(rung) * parts(rung);
                queues += parts(rung);
            }
        }
        assert!(matches(&destination("windlass.mail.normal"), &key));
        (waited, queues)
    }

    #[test]
    fn every_delay_up_to_a_year_is_exact() {
        let year = seconds(windlass_core::limits::DELAY);
        let some = (1..=300).chain((0..25).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        for delay in some.chain([86_400, year - 1, year, LONGEST]).filter(|delay| *delay > 0) {
            let (waited, queues) = walk(delay);
            assert_eq!(waited, Duration::from_secs(delay.into()));
            assert!(queues <= 29, "{delay} s passes {queues} queues");
        }
    }

    #[test]
    fn no_queue_holds_longer_than_a_server_can() {
        assert!((0..BITS).all(|rung| ttl(rung).as_millis() <= u128::from(u32::MAX)));
        assert!(LONGEST >= seconds(windlass_core::limits::DELAY));
    }

    #[test]
    fn delays_are_rounded_up() {
        let table = [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)];
        for (millis, expected) in table {
            assert_eq!(seconds(Duration::from_millis(millis)), expected, "{millis} ms");
        }
        assert_eq!(seconds(Duration::MAX), LONGEST);
    }

    #[test]
    fn a_destination_is_nobody_elses() {
        let one = key(5, "windlass.a.windlass.mail.normal");
        assert!(!matches(&destination("windlass.mail.normal"), &one));
        assert!(matches(&destination("windlass.a.windlass.mail.normal"), &one));
    }
}
