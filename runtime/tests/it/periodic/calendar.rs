//! Cron expressions in places that change their clocks.

use std::str::FromStr;

use windlass_core::periodic::rfc3339;
use windlass_core::{ErrorKind, Timestamp};
use windlass_runtime::periodic::Periodic;

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";

fn at(text: &str) -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::from_str(text).unwrap().as_microsecond())
}

fn ticks(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let ticks = Periodic::cron(expression).tz(zone).ticks(at(after), count);
    ticks.unwrap().into_iter().map(rfc3339).collect()
}

/// Berlin: 2026-03-29 01:00 UTC from +1 to +2, 2026-10-25 01:00 UTC back.
/// New York: 2026-03-08 07:00 UTC from -5 to -4, 2026-11-01 06:00 UTC back.
#[test]
fn in_spring_what_falls_into_the_gap_comes_at_its_end() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        // A fixed time in the gap: once, at the first moment after it.
        ("30 2 * * *", BERLIN, "2026-03-28T02:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07T08:00:00Z", &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]),
        ("0 2 * * *", BERLIN, "2026-03-28T02:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        // A fixed time outside of it: nothing special, on the hour before and after.
        ("30 1 * * *", BERLIN, "2026-03-28T02:00:00Z", &["2026-03-29T00:30:00Z", "2026-03-29T23:30:00Z"]),
        ("0 3 * * *", BERLIN, "2026-03-28T03:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
        // What comes several times a day leaves out what the clock leaves out.
        (
            "0 * * * *",
            BERLIN,
            "2026-03-28T23:30:00Z",
            &["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"],
        ),
        ("0,30 2 * * *", BERLIN, "2026-03-28T02:00:00Z", &["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"]),
        (
            "*/30 * * * *",
            NEW_YORK,
            "2026-03-08T06:15:00Z",
            &["2026-03-08T06:30:00Z", "2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z"],
        ),
    ];
    for (expression, zone, after, expected) in table {
        assert_eq!(ticks(expression, zone, after, expected.len()), *expected, "{expression} in {zone}");
    }
}

#[test]
fn in_autumn_a_fixed_time_comes_once_and_an_interval_each_time() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        // At the first of the two half past twos.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00:00Z", &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
        // Asked between the two, or within the second hour: it has been.
        ("30 2 * * *", BERLIN, "2026-10-25T00:30:00Z", &["2026-10-26T01:30:00Z"]),
        ("30 2 * * *", BERLIN, "2026-10-25T01:10:00Z", &["2026-10-26T01:30:00Z"]),
        ("0 3 * * *", BERLIN, "2026-10-24T12:00:00Z", &["2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"]),
        (
            "0 * * * *",
            BERLIN,
            "2026-10-24T23:30:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
        ),
        (
            "0,30 2 * * *",
            BERLIN,
            "2026-10-24T12:00:00Z",
            &[
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:00:00Z",
            ],
        ),
    ];
    for (expression, zone, after, expected) in table {
        assert_eq!(ticks(expression, zone, after, expected.len()), *expected, "{expression} in {zone}");
    }
}

#[test]
fn midnight_may_be_missing_and_a_day_may_be_too() {
    // Cairo changes at midnight: the day begins at one.
    let cairo = ticks("0 0 * * *", "Africa/Cairo", "2026-04-22T23:00:00Z", 3);
    assert_eq!(cairo, ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z", "2026-04-25T21:00:00Z"]);
    // Samoa has left out 2011-12-30.
    let apia = ticks("30 12 * * *", "Pacific/Apia", "2011-12-29T20:00:00Z", 3);
    assert_eq!(apia, ["2011-12-29T22:30:00Z", "2011-12-30T22:30:00Z", "2011-12-31T22:30:00Z"]);
}

#[test]
fn intervals_know_no_clocks_on_walls() {
    let ticks = Periodic::every("6h").anchor(at("2026-03-28T00:00:00Z")).ticks(at("2026-03-28T20:00:00Z"), 3);
    let ticks: Vec<String> = ticks.unwrap().into_iter().map(rfc3339).collect();
    assert_eq!(ticks, ["2026-03-29T00:00:00Z", "2026-03-29T06:00:00Z", "2026-03-29T12:00:00Z"]);
}

#[test]
fn fields_mean_what_they_say() {
    let table: &[(&str, &[&str])] = &[
        ("*/20 * * * * *", &["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"]),
        ("0 0 L * *", &["2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"]),
        ("0 0 LW * *", &["2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z"]),
        ("0 0 15W * *", &["2026-01-15T00:00:00Z", "2026-02-16T00:00:00Z"]),
        ("0 9 * * FRI#2", &["2026-01-09T09:00:00Z", "2026-02-13T09:00:00Z"]),
        ("0 9 * * 5L", &["2026-01-30T09:00:00Z", "2026-02-27T09:00:00Z"]),
        ("0 0 * * 7", &["2026-01-04T00:00:00Z"]),
        ("0 0 * * SUN", &["2026-01-04T00:00:00Z"]),
        ("0 0 13 * 5", &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"]),
        ("0 0 13 * +5", &["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"]),
        ("0 0 29 FEB *", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("@weekly", &["2026-01-04T00:00:00Z"]),
        ("@daily", &["2026-01-02T00:00:00Z"]),
        ("0 0 0 1 1 * 2100", &["2100-01-01T00:00:00Z"]),
        // 2100 has no leap day.
        ("0 0 0 28-29 2 * 2100-2104", &["2100-02-28T00:00:00Z", "2101-02-28T00:00:00Z"]),
    ];
    for (expression, expected) in table {
        assert_eq!(ticks(expression, "UTC", "2026-01-01T00:00:00Z", expected.len()), *expected, "{expression}");
    }
    assert_eq!(ticks("0 0 0 1 1 * 2100", "UTC", "2026-01-01T00:00:00Z", 5).len(), 1, "it does not come again");
}

#[test]
fn a_search_from_anywhere_finds_the_next_tick_of_the_same_row() {
    // Each place with the nights in which it changes its clocks.
    let places = [
        (BERLIN, ["2026-03-28T11:11:11Z", "2026-10-24T11:11:11Z"]),
        (NEW_YORK, ["2026-03-07T11:11:11Z", "2026-10-31T11:11:11Z"]),
        ("Africa/Cairo", ["2026-04-23T11:11:11Z", "2026-10-29T11:11:11Z"]),
        ("Australia/Lord_Howe", ["2026-04-04T05:11:11Z", "2026-10-03T05:11:11Z"]),
    ];
    let expressions = ["30 2 * * *", "0 0 * * *", "*/15 * * * *", "0 1-3 * * *"];
    for (zone, begins) in places {
        for expression in expressions {
            for begin in begins {
                let row = Periodic::cron(expression).tz(zone).ticks(at(begin), 160).unwrap();
                assert!(row.is_sorted_by(|one, next| one < next), "{expression} in {zone}: not in order");
                let end = at(begin).as_micros() + 86_400_000_000 * 5 / 4;
                let mut probe = at(begin);
                while probe.as_micros() < end && row.last() > Some(&probe) {
                    let found = Periodic::cron(expression).tz(zone).ticks(probe, 1).unwrap();
                    let expected = row.iter().find(|tick| **tick > probe).copied();
                    assert_eq!(found.first().copied(), expected, "{expression} in {zone} after {}", rfc3339(probe));
                    probe = Timestamp::from_micros(probe.as_micros() + 2_777_000_000);
                }
            }
        }
    }
}

#[test]
fn a_bad_expression_is_told_with_its_place() {
    let table = [
        ("61 * * * *", "(the minute, \"61\" at byte 0: number out of bounds)"),
        ("*  * 32 * *", "(the day of the month, \"32\" at byte 5: number out of bounds)"),
        ("0 0 * * MONDAY", "(the day of the week, \"MONDAY\" at byte 8: a character that is not allowed there)"),
        ("*/0 * * * * *", "(the second, \"*/0\" at byte 0: step cannot be zero)"),
        ("0 5-1 * * *", "(the hour, \"5-1\" at byte 2: range out of bounds)"),
        ("0 0 0 1 1 * 9999", "(the year, \"9999\" at byte 12: number out of bounds)"),
        ("* * *", "(3 fields)"),
        ("", "(0 fields)"),
        ("@reboot", "(unknown name)"),
        ("TZ=UTC * * * * *", "(the second, \"TZ=UTC\" at byte 0: a character that is not allowed there)"),
    ];
    for (expression, why) in table {
        let error = Periodic::cron(expression).ticks(at("2026-01-01T00:00:00Z"), 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{expression}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cron: {expression:?} {why} is not allowed: five fields")), "{text}");
    }
    let error = Periodic::cron("*".repeat(300)).ticks(at("2026-01-01T00:00:00Z"), 1).unwrap_err();
    assert_eq!(error.to_string(), "cron: an expression of 300 bytes is not allowed: at most 255 bytes");
}

#[test]
fn an_unknown_time_zone_is_told_with_those_near_it() {
    for (zone, near) in [
        ("Europe/Berln", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("America/NewYork", "America/New_York"),
        ("new york", "America/New_York"),
    ] {
        let error = Periodic::cron("0 3 * * *").tz(zone).ticks(at("2026-01-01T00:00:00Z"), 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("near it are") && error.to_string().contains(near), "{error}");
    }
    let error = Periodic::cron("0 3 * * *").tz("Middle/Earth").ticks(at("2026-01-01T00:00:00Z"), 1).unwrap_err();
    assert!(error.to_string().ends_with("such as Europe/Berlin or UTC"), "{error}");
}

#[test]
fn what_belongs_to_the_other_kind_is_refused() {
    let begin = at("2026-01-01T00:00:00Z");
    let errors = [
        (Periodic::every("1m").tz("UTC").ticks(begin, 1), "tz: "),
        (Periodic::cron("* * * * *").anchor(begin).ticks(begin, 1), "anchor: "),
        (Periodic::every("500ms").ticks(begin, 1), "every: 500ms is not allowed: 1s to 366d"),
        (Periodic::every("soon").ticks(begin, 1), "every: \"soon\" is not allowed"),
        (Periodic::every("1m").jitter("2d").ticks(begin, 1), "jitter: "),
    ];
    for (answer, text) in errors {
        let error = answer.unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}
