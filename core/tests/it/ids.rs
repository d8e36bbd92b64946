//! Names and ids: one table of what is allowed, for all of them.

use proptest::prelude::*;
use windlass_core::{ErrorKind, QueueName, TaskId, TaskName, Token};

use crate::strategies::{QUEUE, TASK, name, task_id};

/// A text, and whether it may be the name of a queue, the name of a task, an id.
const TABLE: [(&str, bool, bool, bool); 42] = [
    ("default", true, true, true),
    ("a", true, true, true),
    ("A.b_c-9", true, true, true),
    ("...", true, true, true),
    ("-", true, true, true),
    ("..", true, true, true),
    ("0", true, true, true),
    ("a:b", false, true, true),
    (":", false, true, true),
    ("::a::", false, true, true),
    ("", false, false, false),
    (" ", false, false, false),
    ("a b", false, false, false),
    (" a", false, false, false),
    ("a ", false, false, false),
    ("a\tb", false, false, false),
    ("a/b", false, false, false),
    ("../", false, false, false),
    ("../../etc/passwd", false, false, false),
    ("a\\b", false, false, false),
    ("{x}", false, false, false),
    ("{}", false, false, false),
    ("a}b", false, false, false),
    ("*", false, false, false),
    ("a?", false, false, false),
    ("[a]", false, false, false),
    ("a,b", false, false, false),
    ("a;b", false, false, false),
    ("a'b", false, false, false),
    ("a\"b", false, false, false),
    ("a%0Ab", false, false, false),
    ("a=b", false, false, false),
    ("#", false, false, false),
    ("\0", false, false, false),
    ("a\0", false, false, false),
    ("\n", false, false, false),
    ("a\r\nb", false, false, false),
    ("😀", false, false, false),
    ("ünï", false, false, false),
    ("שלום", false, false, false),
    ("a\u{202e}b", false, false, false),
    ("amq.x", false, false, false),
];

#[test]
fn one_charset_for_all() {
    for (text, queue, task, id) in TABLE {
        assert_eq!(QueueName::new(text).is_ok(), queue, "queue {text:?}");
        assert_eq!(TaskName::new(text).is_ok(), task, "task {text:?}");
        assert_eq!(TaskId::new(text).is_ok(), id, "id {text:?}");
    }
}

#[test]
fn the_prefix_is_refused_and_nothing_near_it() {
    for text in ["amq.", "amq.gen-x"] {
        let error = QueueName::new(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("queue: {text:?} is not allowed: the prefix amq. is reserved by RabbitMQ")
        );
    }
    for text in ["amq", "amqp.x", "AMQ.x", "x.amq."] {
        assert_eq!(QueueName::new(text).unwrap().as_str(), text);
    }
}

#[test]
fn names_end_at_128_bytes() {
    let (longest, longer, longest_by_far) = ("x".repeat(128), "x".repeat(129), "x".repeat(100_000));
    assert_eq!(QueueName::new(&longest).unwrap().as_str(), longest);
    assert_eq!(TaskName::new(&longest).unwrap().as_str(), longest);
    assert_eq!(TaskId::new(&longest).unwrap().to_string(), longest);
    for (text, bytes) in [(&longer, 129), (&longest_by_far, 100_000)] {
        let allowed = "is not allowed: 1 to 128 bytes of A-Z a-z 0-9 . _ -";
        assert_eq!(QueueName::new(text).unwrap_err().to_string(), format!("queue: a name of {bytes} bytes {allowed}"));
        assert_eq!(
            TaskName::new(text).unwrap_err().to_string(),
            format!("task name: a name of {bytes} bytes {allowed}:")
        );
        assert_eq!(TaskId::new(text).unwrap_err().to_string(), format!("task id: a name of {bytes} bytes {allowed}:"));
    }
}

#[test]
fn errors_name_the_character_and_its_place() {
    for (text, place) in [
        ("a b", "\"a b\" (character ' ' at byte 1)"),
        ("é", "\"é\" (character 'é' at byte 0)"),
        ("ab\0", "\"ab\\0\" (character '\\0' at byte 2)"),
        ("x\u{202e}", "\"x\\u{202e}\" (character '\\u{202e}' at byte 1)"),
        ("", "\"\" (empty)"),
    ] {
        let error = TaskId::new(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), format!("task id: {place} is not allowed: 1 to 128 bytes of A-Z a-z 0-9 . _ -:"));
    }
}

#[test]
fn an_id_prints_as_it_was_given() {
    for text in [
        "0199c2a4-7c00-7000-8000-000000000001",
        "0199C2A4-7C00-7000-8000-000000000001",
        "0199c2a47c0070008000000000000001",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "urn:uuid:0199c2a4-7c00-7000-8000-000000000001",
        "invoice:2026-11",
    ] {
        let id = TaskId::new(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), text);
        assert_eq!(id.with_str(str::len), text.len());
    }
    let [lower, upper] = ["0199c2a4-7c00-7000-8000-00000000000a", "0199C2A4-7C00-7000-8000-00000000000A"];
    assert_ne!(TaskId::new(lower).unwrap(), TaskId::new(upper).unwrap(), "they are different keys in a store");
}

#[test]
fn ids_of_version_7_have_their_marks_and_sort_by_time() {
    let id = TaskId::v7(0x0199_c2a4_7c00, [0xff; 10]).to_string();
    assert_eq!(id, "0199c2a4-7c00-7fff-bfff-ffffffffffff");
    let ids = [(1, [0xff; 10]), (2, [0; 10]), (256, [0; 10])].map(|(millis, random)| TaskId::v7(millis, random));
    assert!(ids.is_sorted());
    assert!(ids.map(|id| id.to_string()).is_sorted());
}

#[test]
fn names_and_ids_are_texts_to_serde_and_stay_checked() {
    assert_eq!(serde_json::to_string(&QueueName::default()).unwrap(), "\"default\"");
    assert_eq!(serde_json::from_str::<TaskName>("\"a:b\"").unwrap().as_str(), "a:b");
    assert_eq!(serde_json::to_string(&TaskId::new("a:b").unwrap()).unwrap(), "\"a:b\"");
    let error = serde_json::from_str::<QueueName>("\"a:b\"").unwrap_err().to_string();
    assert!(error.starts_with("queue: \"a:b\" (character ':' at byte 1) is not allowed"), "{error}");
    assert!(serde_json::from_str::<TaskId>("\"\"").is_err());
}

#[test]
fn later_claims_have_greater_tokens() {
    assert!(Token::default() < Token(1) && Token(9) < Token(10));
    assert_eq!(Token(u64::MAX).to_string(), "18446744073709551615");
}

proptest! {
    #[test]
    fn every_allowed_name_comes_back(queue in name(QUEUE), task in name(TASK)) {
        prop_assert_eq!(QueueName::new(&queue).unwrap().to_string(), queue.clone());
        prop_assert_eq!(queue.parse::<QueueName>().unwrap(), QueueName::try_from(queue).unwrap());
        prop_assert_eq!(TaskName::new(&task).unwrap().to_string(), task.clone());
        prop_assert_eq!(String::from(TaskId::new(&task).unwrap()), task);
    }

    #[test]
    fn every_id_comes_back(id in task_id()) {
        prop_assert_eq!(TaskId::new(id.to_string()).unwrap(), id.clone());
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<TaskId>(&json).unwrap(), id);
    }

    #[test]
    fn one_bad_character_anywhere_is_found(name in name(TASK), bad in any::<char>(), at in any::<proptest::sample::Index>()) {
        prop_assume!(!(bad.is_ascii_alphanumeric() || "._-:".contains(bad)));
        let mut text = name.clone();
        text.insert(at.index(name.len() + 1), bad);
        prop_assert!(TaskName::new(&text).is_err(), "{text:?}");
        prop_assert!(TaskId::new(&text).is_err(), "{text:?}");
    }
}
