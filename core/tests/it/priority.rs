//! Priorities: their order and their names.

use windlass_core::message::wire;
use windlass_core::{ErrorKind, Message, Options, Priority, QueueName, TaskId, TaskName};

const NAMES: [(Priority, &str); 4] =
    [(Priority::Low, "low"), (Priority::Normal, "normal"), (Priority::High, "high"), (Priority::Critical, "critical")];

#[test]
fn every_name_is_read_and_written_and_the_most_urgent_is_the_greatest() {
    assert_eq!(NAMES.map(|(priority, _)| priority), Priority::ALL);
    assert!(Priority::ALL.is_sorted_by(|a, b| a < b), "{:?}", Priority::ALL);
    for (priority, name) in NAMES {
        assert_eq!((priority.as_str(), priority.to_string().as_str()), (name, name));
        assert_eq!(name.parse::<Priority>().unwrap(), priority);
    }
}

#[test]
fn what_is_no_name_is_refused_with_field_value_and_what_is_allowed() {
    for text in ["", "High", " high", "high ", "urgent", "5", "crit\n"] {
        let error = text.parse::<Priority>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), format!("priority: {text:?} is not allowed: low, normal, high, critical"));
    }
}

fn message(priority: Option<Priority>) -> Message {
    let task = TaskName::new("add").unwrap();
    let message = Message::new(TaskId::new("id").unwrap(), QueueName::default(), task, "[]".into());
    Message { options: Options { priority, ..Options::default() }, ..message }
}

#[test]
fn a_message_that_says_nothing_is_normal() {
    assert_eq!(Priority::default(), Priority::Normal);
    assert_eq!(message(None).priority(), Priority::Normal);
    for priority in Priority::ALL {
        assert_eq!(message(Some(priority)).priority(), priority);
    }
}

#[test]
fn only_what_was_asked_for_travels() {
    assert_eq!(wire::encode(&message(None)), "windlass/1 add\n\n[]");
    for (priority, name) in NAMES {
        assert_eq!(wire::encode(&message(Some(priority))), format!("windlass/1 add\npriority={name}\n\n[]"));
    }
}
