//! The envelope: golden files, round trips, and bytes that are none.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use windlass_core::message::wire::{Malformed, VERSION, decode, encode};
use windlass_core::{Backoff, Message, Options, Priority, QueueName, Retention, RetryOn, TaskId, TaskName, Timestamp};

use crate::strategies;

const MINIMAL: &[u8] = include_bytes!("golden/message-v1-minimal.bin");
const FULL: &[u8] = include_bytes!("golden/message-v1-full.bin");
const PRIORITY: &[u8] = include_bytes!("golden/message-v1-priority.bin");
const FLOW: &[u8] = include_bytes!("golden/message-v1-flow.bin");
const UNKNOWN: &[u8] = include_bytes!("golden/message-v1-unknown-field.bin");

fn message(task: &str, payload: &'static [u8]) -> Message {
    let id = TaskId::new("id").unwrap();
    Message::new(id, QueueName::default(), TaskName::new(task).unwrap(), Bytes::from_static(payload))
}

fn read(bytes: impl Into<Bytes>) -> Result<Message, Malformed> {
    decode(TaskId::new("id").unwrap(), QueueName::default(), &bytes.into())
}

fn full() -> Message {
    let options = Options {
        expires: Some(Duration::from_secs(3600)),
        deadline: Some(Timestamp::from_micros(1_763_713_600_000_000)),
        max_retries: Some(3),
        backoff: Some(Backoff::exponential(Duration::from_millis(1500), 2.5, Duration::from_secs(600))),
        retry_on: Some(RetryOn { errors: true, timeouts: true, panics: false }),
        timeout: Some(Duration::from_secs(30)),
        soft_timeout: Some(Duration::from_secs(20)),
        status_ttl: Some(Retention::Forever),
        result_ttl: Some(Retention::For(Duration::from_secs(60))),
        headers: [("note", "100 %\r\nünï"), ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    };
    let enqueued_at = Timestamp::from_micros(1_763_710_000_123_456);
    let remember = Some(Duration::from_secs(86_400));
    Message { options, enqueued_at, remember, ..message("mail:send", b"[\"a\\nb\",\xff\x00\n\n]") }
}

fn urgent() -> Message {
    let options =
        Options { priority: Some(Priority::High), expires: Some(Duration::from_secs(60)), ..Options::default() };
    Message { options, enqueued_at: Timestamp::from_micros(1_763_710_000_123_456), ..message("mail:send", b"[1]") }
}

fn part_of_a_flow() -> Message {
    crate::flow::message()
}

fn with_unknown_field() -> Message {
    let unknown = vec![("later".to_owned(), "9=high\n".to_owned()), ("x".to_owned(), String::new())];
    let options = Options { max_retries: Some(3), ..Options::default() };
    Message { unknown, options, ..message("add", b"[2,3]") }
}

#[test]
fn golden_files_are_read_and_written_byte_by_byte() {
    let golden = [
        ("minimal", MINIMAL, message("add", b"[2,3]")),
        ("full", FULL, full()),
        ("priority", PRIORITY, urgent()),
        ("flow", FLOW, part_of_a_flow()),
        ("unknown", UNKNOWN, with_unknown_field()),
    ];
    for (name, bytes, message) in golden {
        assert_eq!(read(bytes).unwrap(), message, "{name}");
        assert_eq!(encode(&message), bytes, "{name}: {:?}", String::from_utf8_lossy(&encode(&message)));
    }
}

#[test]
fn the_payload_is_not_copied() {
    let bytes = Bytes::from_static(FULL);
    let message = read(bytes.clone()).unwrap();
    assert_eq!(message.payload.as_ptr_range().end, bytes.as_ptr_range().end);
}

#[test]
fn a_newer_version_is_told_apart() {
    for (bytes, found) in
        [("windlass/2 add\n\n[]", 2), ("windlass/9 \u{1}\n", 9), ("windlass/4294967295 x\n\n", u32::MAX)]
    {
        assert_eq!(read(bytes), Err(Malformed::Newer { found }));
    }
    assert_eq!(VERSION, 1);
    let text = Malformed::Newer { found: 2 }.to_string();
    assert_eq!(text, "envelope version 2, this worker reads up to 1");
}

#[test]
fn bytes_that_are_no_envelope_are_told_with_their_place() {
    let head = "\"windlass/<version> <task name>\"";
    let name = "task name: \"a b\" (character ' ' at byte 1) is not allowed: 1 to 128 bytes of A-Z a-z 0-9 . _ -:";
    let table: [(&[u8], &str, usize); 26] = [
        (b"", "a line feed", 0),
        (b"windlass/1 add", "a line feed", 14),
        (b"windlass/1 add\n", "a line feed", 15),
        (b"windlass/1 add\nat=1\n", "a line feed", 20),
        (b"\n\n", head, 0),
        (b"{\"task\":\"add\"}\n\n", head, 0),
        (b"Windlass/1 add\n\n", head, 0),
        (b"windlass/1\n\n", head, 0),
        (b"windlass/x add\n\n", "a version number", 9),
        (b"windlass/-1 add\n\n", "a version number", 9),
        (b"windlass/1 a b\n\n", name, 11),
        (b"windlass/1 \xff\n\n", "UTF-8", 11),
        (b"windlass/1 add\nat\n\n", "name=value", 15),
        (b"windlass/1 add\n\r\n\n", "name=value", 15),
        (b"windlass/1 add\nat=soon\n\n", "a number in at", 18),
        (b"windlass/1 add\npriority=9\n\n", "a priority in priority", 24),
        (b"windlass/1 add\npriority=High\n\n", "a priority in priority", 24),
        (b"windlass/1 add\nretries=-1\n\n", "a number in retries", 23),
        (b"windlass/1 add\nat=1\nbackoff=often\n\n", "a backoff in backoff", 28),
        (b"windlass/1 add\nh.x=\xc3\n\n", "UTF-8", 19),
        (b"windlass/1 add\nflow=a\n\n", "an id and milliseconds in flow", 20),
        (b"windlass/1 add\nflow=a b 1\n\n", "an id and milliseconds in flow", 20),
        (b"windlass/1 add\ninput=1 one\n\n", "a line flow before it in input", 21),
        (b"windlass/1 add\nnext=b 0/1 end\n\n", "a line flow before it in next", 20),
        (b"windlass/1 add\nflow=a 1\ninput=1 two\n\n", "a number and a shape in input", 30),
        (b"windlass/1 add\nflow=a 1\nnext=b 0/1 soon\n\n", "an id, a place and an end in next", 29),
    ];
    for (bytes, expected, at) in table {
        let malformed = Malformed::Bytes { expected: expected.to_owned(), at };
        assert_eq!(read(bytes), Err(malformed), "{:?}", String::from_utf8_lossy(bytes));
    }
    let error = read("x\n").unwrap_err();
    assert_eq!(error.to_string(), format!("envelope: expected {head} at byte 0"));
}

#[test]
fn escapes_of_escapes_come_back() {
    for (value, written) in [
        ("%0A", "%250A"),
        ("%250A", "%25250A"),
        ("\n", "%0A"),
        ("%\n", "%25%0A"),
        ("%0\nA", "%250%0AA"),
        ("\r\n%25", "%0D%0A%2525"),
        ("%", "%25"),
        ("%%25", "%25%2525"),
        ("%0D%0A", "%250D%250A"),
    ] {
        let mut message = message("add", b"");
        message.options.headers.insert("x".to_owned(), value.to_owned());
        let bytes = encode(&message);
        assert_eq!(bytes, format!("windlass/1 add\nh.x={written}\n\n"), "{value:?}");
        assert_eq!(read(bytes).unwrap(), message, "{value:?}");
    }
}

#[test]
fn what_the_transport_carries_is_not_in_the_envelope() {
    let mut elsewhere = full();
    elsewhere.queue = "other".parse().unwrap();
    elsewhere.id = TaskId::new("other").unwrap();
    elsewhere.schedule = windlass_core::Schedule::After(Duration::from_secs(1));
    elsewhere.options.queue = Some("other".parse().unwrap());
    elsewhere.options.delay = Some(Duration::from_secs(1));
    elsewhere.options.run_at = Some(Timestamp::from_micros(1));
    assert_eq!(encode(&elsewhere), FULL);
}

proptest! {
    #[test]
    fn any_message_comes_back(message in strategies::message()) {
        let back = decode(message.id.clone(), message.queue.clone(), &encode(&message));
        prop_assert_eq!(back, Ok(message));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read(bytes);
    }

    #[test]
    fn no_lines_make_it_panic(
        lines in vec("(at|priority|expires|deadline|retries|backoff|retry-on|timeout|status-ttl|remember|h\\.|h\\.a|=|x|)=?[0-9a-z% -]{0,24}", 0..6),
        payload in strategies::payload(),
    ) {
        let mut bytes = format!("windlass/1 add\n{}\n\n", lines.join("\n")).into_bytes();
        bytes.extend_from_slice(&payload);
        if let Ok(message) = read(bytes) {
            prop_assert_eq!(read(encode(&message)), Ok(message), "what was read is written the same");
        }
    }

    #[test]
    fn a_cut_envelope_is_never_a_message(message in strategies::message(), cut in any::<proptest::sample::Index>()) {
        let bytes = encode(&message);
        let head = bytes.len() - message.payload.len();
        prop_assert!(read(bytes.slice(..cut.index(head))).is_err());
    }
}
