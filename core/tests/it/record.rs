//! Records: golden files, round trips, and which replaces which.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use windlass_core::State::{Cancelled, Expired, Failed, Queued, Retrying, Running, Scheduled, Succeeded};
use windlass_core::{Failure, FailureKind, Record, Retention, State, TaskId, Timestamp, Token, limits};

use crate::strategies;

const SUCCEEDED: &[u8] = include_bytes!("golden/record-v1-succeeded.bin");
const FAILED: &[u8] = include_bytes!("golden/record-v1-failed.bin");

fn record(token: u64, state: State) -> Record {
    Record {
        id: TaskId::new("id").unwrap(),
        token: Token(token),
        state,
        attempt: 1,
        at: Timestamp::from_micros(1_763_710_000_123_456),
        result: None,
        failure: None,
        status_ttl: Retention::Forever,
        result_ttl: Retention::Forever,
    }
}

fn succeeded() -> Record {
    Record { result: Some(Bytes::from_static(b"{\"sum\":5}\n\xff=")), ..record(42, Succeeded) }
}

fn failed() -> Record {
    let failure = Failure {
        causes: vec!["connection refused".to_owned(), "os error 111".to_owned()],
        location: Some("src/main.rs:7:5".to_owned()),
        ..Failure::new(FailureKind::Panic, "no \"mail\"\nünï", 11)
    };
    Record { attempt: 11, failure: Some(failure), ..record(u64::MAX, Failed) }
}

fn read(bytes: impl Into<Bytes>) -> Result<Record, String> {
    Record::decode(TaskId::new("id").unwrap(), &bytes.into()).map_err(|error| error.to_string())
}

#[test]
fn golden_files_are_read_and_written_byte_by_byte() {
    for (bytes, record) in [(SUCCEEDED, succeeded()), (FAILED, failed())] {
        assert_eq!(read(bytes), Ok(record.clone()));
        assert_eq!(record.encode(), bytes, "{:?}", String::from_utf8_lossy(&record.encode()));
    }
}

#[test]
fn an_empty_result_is_not_none() {
    let empty = Record { result: Some(Bytes::new()), ..record(1, Succeeded) };
    assert_eq!(read(empty.encode()), Ok(empty));
    let none = record(1, Succeeded);
    assert_eq!(read(none.encode()), Ok(none));
}

#[test]
fn the_status_alone_has_everything_but_the_result() {
    let without = Record { result: None, ..succeeded() };
    assert_eq!(succeeded().encode_status(), without.encode());
    assert_eq!(failed().encode_status(), failed().encode());
}

#[test]
fn bytes_that_are_no_record_are_told() {
    for (bytes, text) in [
        ("", "cut short"),
        ("1 1 failed 1 1", "cut short"),
        ("\n", "unknown version"),
        ("2 1 failed 1 1\n0\n", "unknown version"),
        ("1\n", "no token"),
        ("1 x failed 1 1\n0\n", "bad token"),
        ("1 -1 failed 1 1\n0\n", "bad token"),
        ("1 1\n", "no state"),
        ("1 1 lost 1 1\n0\n", "bad state"),
        ("1 1 failed\n", "no attempt"),
        ("1 1 failed -1 1\n0\n", "bad attempt"),
        ("1 1 failed 1\n", "no time"),
        ("1 1 failed 1 now\n0\n", "bad time"),
        ("1 1 failed 1 1\n", "cut short"),
        ("1 1 failed 1 1\nx\n", "bad failure length"),
        ("1 1 failed 1 1\n5\n{}", "cut short"),
        ("1 1 failed 1 1\n18446744073709551615\n{}", "cut short"),
        ("1 1 failed 1 1\n2\n{}", "bad failure"),
    ] {
        assert_eq!(read(bytes), Err(format!("not a record: {text}")), "{bytes:?}");
    }
}

#[test]
fn failures_of_later_versions_are_read() {
    let json = r#"{"kind":"error","message":"no","attempt":2,"worker":"w1"}"#;
    let record = read(format!("1 1 failed 2 0\n{}\n{json}", json.len())).unwrap();
    assert_eq!(record.failure, Some(Failure::new(FailureKind::Error, "no", 2)));
}

/// For each stored state: what may take its place, by the same claim and by a later one.
#[rustfmt::skip]
const REPLACES: [(State, &[State], &[State]); 8] = [
    (Scheduled, &State::ALL,  &State::ALL),
    (Queued,    &State::ALL,  &State::ALL),
    (Running,   &State::ALL,  &State::ALL),
    (Retrying,  &State::ALL,  &State::ALL),
    (Succeeded, &[Succeeded], &[]),
    (Failed,    &[Failed],    &State::ALL),
    (Cancelled, &[Cancelled, Queued], &[]),
    (Expired,   &[Expired],   &[]),
];

#[test]
fn which_record_replaces_which() {
    for (stored, same, later) in REPLACES {
        for new in State::ALL {
            for (token, allowed) in [(4, false), (5, same.contains(&new)), (6, later.contains(&new))] {
                let replaces = record(token, new).replaces(&record(5, stored));
                assert_eq!(replaces, allowed, "{new} of claim {token} over {stored} of claim 5");
            }
        }
    }
}

#[test]
fn a_saved_record_can_be_saved_again() {
    for state in State::ALL {
        assert!(record(5, state).replaces(&record(5, state)), "{state}");
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let text = format!("x{}", "é".repeat(limits::ERROR_BYTES));
    let message = Failure::new(FailureKind::Error, text.as_str(), 1).message;
    let kept = message.strip_suffix('…').unwrap();
    assert!(text.starts_with(kept));
    assert!((limits::ERROR_BYTES - 1..=limits::ERROR_BYTES).contains(&kept.len()), "{} B", kept.len());
    let fits = "x".repeat(limits::ERROR_BYTES);
    assert_eq!(Failure::new(FailureKind::Error, fits.as_str(), 1).message, fits);
}

#[derive(Debug, thiserror::Error)]
#[error("level {level}")]
struct Nested {
    level: usize,
    source: Option<Box<Nested>>,
}

#[test]
fn a_failure_has_the_causes_of_its_error_up_to_sixteen() {
    let nest = |levels| (0..levels).fold(None, |source, level| Some(Box::new(Nested { level, source })));
    let failure = Failure::from_error(FailureKind::Error, nest(3).unwrap().as_ref(), 2);
    assert_eq!((failure.message.as_str(), failure.attempt), ("level 2", 2));
    assert_eq!(failure.causes, ["level 1", "level 0"]);
    assert_eq!(failure.to_string(), "level 2: level 1: level 0 (attempt 2)");
    assert_eq!(Failure::from_error(FailureKind::Error, nest(40).unwrap().as_ref(), 1).causes.len(), 16);
    assert_eq!(
        failed().failure.unwrap().to_string(),
        "no \"mail\"\nünï: connection refused: os error 111 at src/main.rs:7:5 (attempt 11)"
    );
}

#[test]
fn retentions_are_ordered_and_come_back_from_their_texts() {
    let millis = |millis| Retention::For(std::time::Duration::from_millis(millis));
    assert!(Retention::None < millis(1) && millis(1) < millis(2) && millis(2) < Retention::Forever);
    for (text, expected) in [
        ("none", Retention::None),
        ("0", Retention::None),
        ("forever", Retention::Forever),
        ("1500", millis(1500)),
        ("1500ms", millis(1500)),
        ("1h", millis(3_600_000)),
    ] {
        assert_eq!(text.parse::<Retention>().unwrap(), expected, "{text}");
        assert_eq!(expected.to_string().parse::<Retention>().unwrap(), expected, "{text}");
    }
    assert_eq!(Retention::from_setting("90").unwrap(), millis(90_000), "a setting counts in seconds");
    let error = Retention::from_setting("long").unwrap_err();
    assert_eq!(error.to_string(), "retention: \"long\" is not allowed: none, forever, or a time such as 1h");
}

proptest! {
    #[test]
    fn any_record_comes_back(record in strategies::record()) {
        let back = Record::decode(record.id.clone(), &record.encode().into());
        prop_assert_eq!(back, Ok(record));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..100), length in any::<u64>()) {
        let _ = read(bytes.clone());
        let mut near = format!("1 1 failed 1 1\n{length}\n").into_bytes();
        near.extend(bytes);
        let _ = read(near);
    }

    #[test]
    fn every_retention_comes_back(retention in strategies::retention()) {
        prop_assert_eq!(retention.to_string().parse::<Retention>().unwrap(), retention);
    }
}
