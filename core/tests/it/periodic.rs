//! Periodic tasks: which ticks come, what an entry looks like, and which id a tick has.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use windlass_core::periodic::{
    AHEAD, Cadence, Claim, Entry, Look, MissedTicks, REMEMBER, check_name, due, rfc3339, tick_id,
};
use windlass_core::{ErrorKind, Message, Options, QueueName, Retention, Schedule, TaskName, Timestamp};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;
/// 2026-03-01 00:00 UTC.
const START: i64 = 1_772_323_200 * SECOND;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(START + micros)
}

/// Each full minute.
fn minutely(at: Timestamp) -> Option<Timestamp> {
    Cadence::paced(Duration::from_secs(60), Timestamp::from_micros(START), at)
}

#[test]
fn missed_ticks_follow_the_policy() {
    use MissedTicks::{All, Once, Skip};
    // Policy, the last tick, now, the ticks that come, the last one after that, whether any is left out.
    let table = [
        (Once, 0, 59 * SECOND, vec![], 0, false),
        (Once, 0, MINUTE, vec![1], 1, false),
        (Once, 0, MINUTE + 1, vec![1], 1, false),
        (Once, 0, 180 * MINUTE + SECOND, vec![180], 180, true),
        (Skip, 0, MINUTE + 30 * SECOND, vec![1], 1, false),
        (Skip, 0, 180 * MINUTE + SECOND, vec![180], 180, true),
        (All { max: 3 }, 0, 2 * MINUTE, vec![1, 2], 2, false),
        (All { max: 3 }, 0, 3 * MINUTE, vec![1, 2, 3], 3, false),
        (All { max: 3 }, 0, 180 * MINUTE, vec![178, 179, 180], 180, true),
        (All { max: 1000 }, 0, 180 * MINUTE, (1..=180).collect(), 180, false),
        (Once, 10, 5 * MINUTE, vec![], 10, false),
    ];
    for (missed, last, now, ticks, then, left_out) in table {
        let look = due(missed, at(last * MINUTE), at(now), minutely);
        let ticks: Vec<Timestamp> = ticks.into_iter().map(|minute: i64| at(minute * MINUTE)).collect();
        let next = minutely(at(then * MINUTE));
        let expected = Look { ticks, last: at(then * MINUTE), next, left_out };
        assert_eq!(look, expected, "{missed:?} from {last} min at {now} µs");
    }
}

#[test]
fn a_tick_that_is_late_by_more_than_a_minute_is_skipped() {
    let daily = |at: Timestamp| Cadence::paced(Duration::from_secs(86_400), Timestamp::from_micros(START), at);
    let on_time = due(MissedTicks::Skip, at(0), at(DAY + MINUTE), daily);
    assert_eq!(on_time.ticks, [at(DAY)]);
    let late = due(MissedTicks::Skip, at(0), at(DAY + MINUTE + SECOND), daily);
    assert_eq!((late.ticks, late.last, late.left_out), (vec![], at(DAY), true));
    assert_eq!(late.next, Some(at(2 * DAY)));
}

#[test]
fn a_long_pause_costs_no_more_than_a_short_one() {
    for (missed, pause) in [(MissedTicks::Once, 10 * 365 * DAY), (MissedTicks::All { max: 100 }, 10 * 365 * DAY)] {
        let asked = Cell::new(0);
        let look = due(missed, at(0), at(pause), |at| {
            asked.set(asked.get() + 1);
            minutely(at)
        });
        assert_eq!(look.last, at(pause));
        assert!(asked.get() < 600, "{missed:?}: asked {} times for the next tick", asked.get());
    }
}

#[test]
fn a_clock_that_goes_back_brings_no_tick_twice() {
    // Back by an hour: what was done stays done until the clock has passed it.
    let look = due(MissedTicks::All { max: 100 }, at(60 * MINUTE), at(MINUTE), minutely);
    assert_eq!((look.ticks, look.last), (vec![], at(60 * MINUTE)));
    assert_eq!(look.next, Some(at(61 * MINUTE)));
    // What was done a year ahead was done by a clock that was wrong: it must not stop the entry for a year.
    let look = due(MissedTicks::All { max: 100 }, at(365 * DAY), at(MINUTE), minutely);
    assert_eq!((look.ticks, look.last, look.next), (vec![], at(MINUTE), Some(at(2 * MINUTE))));
    assert!(AHEAD <= REMEMBER, "what comes again must be refused by its id");
}

#[test]
fn an_entry_that_has_no_tick_left_rests() {
    let look =
        due(MissedTicks::Once, at(0), at(DAY), |at| Some(Timestamp::from_micros(START + 5)).filter(|tick| *tick > at));
    assert_eq!((look.ticks, look.next), (vec![at(5)], None));
    let look = due(MissedTicks::Once, at(5), at(DAY), |_| None);
    assert_eq!((look.ticks, look.last, look.next), (vec![], at(5), None));
}

proptest! {
    /// However often and however late it is looked: with a policy that leaves nothing out, each tick comes
    /// once, in order.
    #[test]
    fn each_tick_comes_once(span in 1_u64..10_000, looks in prop::collection::vec(0_i64..50_000, 1..40)) {
        let after = |at| Cadence::paced(Duration::from_secs(span), Timestamp::from_micros(START), at);
        let (mut now, mut last, mut seen) = (0, at(0), Vec::new());
        for step in looks {
            // At most as many ticks between two looks as may be caught up with.
            now += step.min(i64::try_from(span).unwrap() * 900) * SECOND;
            let look = due(MissedTicks::All { max: 1000 }, last, at(now), after);
            prop_assert!(!look.left_out && look.next > Some(at(now)));
            seen.extend(look.ticks);
            last = look.last;
        }
        let span = i64::try_from(span).unwrap() * SECOND;
        let expected: Vec<Timestamp> = (1..=now / span).map(|count| at(count * span)).collect();
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn intervals_have_limits_and_an_anchor() {
    for (span, error) in [("999ms", true), ("1s", false), ("366d", false), ("367d", true), ("x", true)] {
        assert_eq!(Cadence::every(span, at(0)).is_err(), error, "{span}");
    }
    let error = Cadence::every(Duration::from_micros(1_500_500), at(0)).unwrap_err();
    assert_eq!(error.to_string(), "every: 1.5005s is not allowed: 1s to 366d, in whole milliseconds");
    let span = Duration::from_secs(600);
    for (anchor, from, tick) in [(0, 0, 10), (0, 1, 10), (3, 0, 3), (3, 3, 13), (3, 12, 13), (-7, 0, 3), (13, 0, 3)] {
        let next = Cadence::paced(span, at(anchor * MINUTE), at(from * MINUTE));
        assert_eq!(next, Some(at(tick * MINUTE)), "anchor {anchor}, after {from}");
    }
    assert_eq!(Cadence::paced(span, at(0), Timestamp::from_micros(i64::MAX)), None);
}

#[test]
fn catching_up_has_limits() {
    for (missed, is_ok) in [
        (MissedTicks::Once, true),
        (MissedTicks::All { max: 1 }, true),
        (MissedTicks::All { max: 1000 }, true),
        (MissedTicks::All { max: 0 }, false),
        (MissedTicks::All { max: 1001 }, false),
    ] {
        assert_eq!(missed.check().is_ok(), is_ok, "{missed:?}");
    }
}

#[test]
fn an_id_names_entry_and_time() {
    let table = [
        (0, "nightly:1970-01-01T00:00:00Z"),
        (1_774_746_000_000, "nightly:2026-03-29T01:00:00Z"),
        (951_782_399_500, "nightly:2000-02-28T23:59:59.500Z"),
        (951_782_400_000, "nightly:2000-02-29T00:00:00Z"),
        (4_107_542_400_000, "nightly:2100-03-01T00:00:00Z"),
        (-1_000, "nightly:1969-12-31T23:59:59Z"),
    ];
    for (millis, id) in table {
        assert_eq!(tick_id("nightly", Timestamp::from_micros(millis * 1000)).unwrap().to_string(), id);
    }
    assert_eq!(rfc3339(at(0)), "2026-03-01T00:00:00Z");
}

#[test]
fn names_are_checked() {
    for (name, is_ok) in [
        ("a:b.c-d_E9", true),
        (&*"x".repeat(100), true),
        (&*"x".repeat(101), false),
        ("", false),
        ("é", false),
        ("a b", false),
        ("amq.x", false),
    ] {
        assert_eq!(check_name(name).is_ok(), is_ok, "{name:?}");
    }
    assert_eq!(check_name("a/b").unwrap_err().kind(), ErrorKind::Invalid);
}

fn entry() -> Entry {
    let message = Message {
        options: Options {
            max_retries: Some(3),
            expires: Some(Duration::from_secs(60)),
            status_ttl: Some(Retention::Forever),
            headers: [("trace".to_owned(), "a=b\n".to_owned())].into(),
            ..Options::default()
        },
        ..Message::new(
            Entry::template_id("nightly").unwrap(),
            QueueName::new("reports").unwrap(),
            TaskName::new("report").unwrap(),
            Bytes::from_static(b"[\xFF\n\0]"),
        )
    };
    Entry {
        message,
        cadence: Cadence::Cron { expression: "0 3 * * *".into(), zone: "Europe/Berlin".into() },
        missed: MissedTicks::All { max: 7 },
        jitter: Duration::from_secs(90),
        paused: true,
        last: at(1),
        claim: Some(Claim { id: 9, at: at(2), ticks: vec![at(0), at(1)], queue: QueueName::default() }),
    }
}

/// Entries outlive the programs that wrote them: this is the form of version 1.
const GOLDEN: &[u8] =
    b"{\"v\":1,\"queue\":\"reports\",\"cadence\":{\"cron\":{\"expression\":\"0 3 * * *\",\"zone\":\"Europe/Berlin\"}},\
\"missed\":{\"all\":{\"max\":7}},\"jitter\":90000,\"paused\":true,\"last\":1772323200000001,\
\"claim\":{\"id\":9,\"at\":1772323200000002,\"ticks\":[1772323200000000,1772323200000001],\"queue\":\"default\"}}\n\
windlass/1 report\nexpires=60000\nretries=3\nstatus-ttl=forever\nh.trace=a=b%0A\n\n[\xFF\n\0]";

#[test]
fn an_entry_is_stored_and_read() {
    let written = entry().encode().unwrap();
    assert_eq!(written, GOLDEN, "{}", String::from_utf8_lossy(&written));
    assert_eq!(Entry::decode("nightly", &written).unwrap(), entry());
    let every =
        Entry { cadence: Cadence::every("90s", at(0)).unwrap(), missed: MissedTicks::Skip, claim: None, ..entry() };
    assert_eq!(Entry::decode("nightly", &every.encode().unwrap()).unwrap(), every);
}

#[test]
fn an_entry_that_cannot_be_read_says_why() {
    let newer = Bytes::from_static(b"{\"v\":2,\"more\":1}\n");
    let error = Entry::decode("nightly", &newer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("nightly") && error.to_string().contains("newer"), "{error}");
    for bytes in [&b""[..], b"{", b"{\"v\":1}\n", &GOLDEN[..GOLDEN.len() - 20]] {
        let error = Entry::decode("nightly", &Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    }
}

#[test]
fn the_task_of_a_tick_goes_where_it_was_claimed_for() {
    let queue = QueueName::new("claimed").unwrap();
    let task = entry().task_of("nightly", at(0), &queue, at(5)).unwrap();
    assert_eq!(task.id.to_string(), "nightly:2026-03-01T00:00:00Z");
    assert_eq!((task.queue, task.enqueued_at, task.remember), (queue.clone(), at(5), Some(REMEMBER)));
    assert_eq!(task.payload, entry().message.payload);
    assert_eq!(task.options.headers["periodic.name"], "nightly");
    assert_eq!(task.options.headers["periodic.tick"], "2026-03-01T00:00:00Z");
    assert_eq!(task.options.headers["trace"], "a=b\n");
    assert_eq!(task.options.max_retries, Some(3));
    // A part of the jitter, the same whoever asks.
    let Schedule::At(due) = task.schedule else { panic!("it waits: {:?}", task.schedule) };
    assert!(due > at(0) && due < at(90 * SECOND), "{due:?}");
    assert_eq!(entry().task_of("nightly", at(0), &queue, at(6)).unwrap().schedule, Schedule::At(due));
    let spread: std::collections::BTreeSet<i64> = (0..50)
        .filter_map(|day| match entry().task_of("nightly", at(day * DAY), &queue, at(0)).unwrap().schedule {
            Schedule::At(due) => Some(due.as_micros() - START - day * DAY),
            _ => None,
        })
        .collect();
    assert!(spread.len() > 40, "the jitter does not spread: {spread:?}");
    let sober = Entry { jitter: Duration::ZERO, ..entry() };
    assert_eq!(sober.task_of("nightly", at(0), &queue, at(5)).unwrap().schedule, Schedule::Now);
}
