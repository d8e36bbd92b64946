//! Points in time and spans of time.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use windlass_core::{IntoDuration, Timestamp};

#[test]
fn spans_as_texts() {
    let s = Duration::from_secs;
    for (text, expected) in [
        ("0", Some(s(0))),
        ("90", Some(s(90))),
        ("250ms", Some(Duration::from_millis(250))),
        ("30s", Some(s(30))),
        ("5m", Some(s(300))),
        ("1h30m", Some(s(5400))),
        ("2d", Some(s(172_800))),
        ("1m1ms", Some(Duration::from_millis(60_001))),
        (" 30s ", Some(s(30))),
        ("", None),
        ("s", None),
        ("-5s", None),
        ("1.5s", None),
        ("1 s", None),
        ("1y", None),
        ("1S", None),
        ("1h30", None),
        ("18446744073709551615d", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(text.into_duration().ok(), expected, "{text:?}");
        assert_eq!(text.to_owned().into_duration().ok(), expected, "{text:?}");
    }
    assert_eq!(Duration::MAX.into_duration().unwrap(), Duration::MAX);
}

#[test]
fn points_in_time_stop_at_the_ends() {
    let (start, zero, end) = (Timestamp::from_micros(i64::MIN), Timestamp::default(), Timestamp::from_micros(i64::MAX));
    assert_eq!(end.plus(Duration::from_secs(1)), end);
    assert_eq!(zero.plus(Duration::MAX), end);
    assert_eq!(start.since(end), Duration::ZERO);
    assert_eq!(end.since(start), Duration::from_micros(i64::MAX.unsigned_abs()));
    assert_eq!(Timestamp::from_micros(-1).as_millis(), -1);
    assert_eq!(Timestamp::from_micros(1999).as_millis(), 1);
}

#[test]
fn the_clock_of_the_system_becomes_a_point() {
    let second = Duration::from_secs(1);
    assert_eq!(Timestamp::from(SystemTime::UNIX_EPOCH + second).as_micros(), 1_000_000);
    assert_eq!(Timestamp::from(SystemTime::UNIX_EPOCH - second).as_micros(), -1_000_000);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), near in "[0-9]{0,24}(ms|s|m|h|d|x|é)?[0-9]{0,3}[a-z]?") {
        let _ = text.into_duration();
        let _ = near.into_duration();
    }

    #[test]
    fn plus_and_since_undo_each_other(at in -1_000_000_000_000_000_i64..1_000_000_000_000_000, span in 0..u64::from(u32::MAX)) {
        let (at, span) = (Timestamp::from_micros(at), Duration::from_micros(span));
        prop_assert_eq!(at.plus(span).since(at), span);
        prop_assert_eq!(at.since(at.plus(span)), Duration::ZERO);
    }
}
