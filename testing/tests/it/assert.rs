//! Assertions on what was enqueued.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use windlass_core::{Broker, FetchRequest, Message, Schedule};
use windlass_testing::{MemoryBroker, assert_enqueued, fixture, refute_enqueued};

fn message(task: &str, queue: &str, args: &'static str) -> Message {
    Message { task: task.parse().unwrap(), ..fixture::message(&queue.parse().unwrap(), args) }
}

async fn broker() -> MemoryBroker {
    let broker = MemoryBroker::new();
    let later = Schedule::After(Duration::from_secs(60));
    let messages = [
        message("add", "math", "[2,3]"),
        Message { schedule: later, ..message("mail:send", "mails", r#"[{"to":"a@b.c"}]"#) },
        message("raw", "math", "not json"),
    ];
    broker.publish(&messages).await.unwrap();
    broker
}

fn text_of(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn what_is_enqueued_is_found() {
    let broker = broker().await;
    assert_enqueued!(broker, "add");
    assert_enqueued!(broker, "add", queue = "math");
    assert_enqueued!(broker, "add", [2, 3], queue = "math");
    let mail = assert_enqueued!(broker, "mail:send", [{ "to": "a@b.c" }]);
    assert!(mail.due.is_some());
    assert_enqueued!(broker, "raw", null);
    refute_enqueued!(broker, "add", [3, 2]);
    refute_enqueued!(broker, "add", queue = "mails");
    refute_enqueued!(broker, "sub");
}

#[tokio::test]
async fn a_failure_lists_what_is_enqueued() {
    let broker = broker().await;
    let text = text_of(|| {
        assert_enqueued!(broker, "add", [2, 4], queue = "math");
    });
    let listing = "enqueued:\n  add [2,3] in queue math\n  mail:send [{\"to\":\"a@b.c\"}] in queue mails (delayed)\n  \
                   raw null in queue math";
    assert_eq!(text, format!("not enqueued: add [2,4] in queue math\n{listing}"));
    let text = text_of(|| refute_enqueued!(broker, "add"));
    assert_eq!(text, format!("enqueued, and should not be: add [2,3] in queue math\n{listing}"));
    let text = text_of(|| {
        assert_enqueued!(MemoryBroker::new(), "add");
    });
    assert_eq!(text, "not enqueued: add\nenqueued: nothing");
}

#[tokio::test]
async fn what_a_worker_has_is_not_enqueued() {
    let broker = broker().await;
    let request = FetchRequest::new("math".parse().unwrap(), 1, Duration::from_secs(30));
    broker.fetch(&request).await.unwrap();
    refute_enqueued!(broker, "add");
    assert_eq!(broker.enqueued().len(), 2);
}
