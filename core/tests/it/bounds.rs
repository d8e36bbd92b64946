//! Limits that are checked at the door, and what public types can do wherever they go.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use windlass_core::limits::{BATCH_BYTES, BATCH_ITEMS, DELAY, HEADER_BYTES, batches, check_delay, check_payload};
use windlass_core::task::{ContextParts, Erased, Job, Registered, Signal, Work};
use windlass_core::{
    Backend, BackendCapabilities, Broker, Call, Capabilities, Clock, Context, DeadPage, Delivery, Error, ErrorKind,
    ExecutionPolicy, FetchRequest, Location, Message, Options, PublishOutcome, QueueName, Record, Registry, Schedule,
    Settlement, Shared, State, TaskDef, TaskError, TaskId, TaskName, Timestamp, Transition,
};

const fn send<T: Send + 'static>() {}
const fn everywhere<T: Send + Sync + Unpin + 'static>() {}

// Checked by the compiler: a type that loses one of these does not compile here.
const _: () = {
    everywhere::<Message>();
    everywhere::<Options>();
    everywhere::<Record>();
    everywhere::<ExecutionPolicy>();
    everywhere::<State>();
    everywhere::<Transition>();
    everywhere::<Error>();
    everywhere::<TaskError>();
    everywhere::<TaskId>();
    everywhere::<TaskName>();
    everywhere::<QueueName>();
    everywhere::<Delivery>();
    everywhere::<Settlement>();
    everywhere::<FetchRequest>();
    everywhere::<PublishOutcome>();
    everywhere::<Location>();
    everywhere::<DeadPage>();
    everywhere::<Capabilities>();
    everywhere::<BackendCapabilities>();
    everywhere::<Context>();
    everywhere::<ContextParts>();
    everywhere::<Shared>();
    everywhere::<Erased>();
    everywhere::<Registered>();
    everywhere::<Registry>();
    everywhere::<Box<dyn Broker>>();
    everywhere::<Box<dyn Backend>>();
    everywhere::<Box<dyn Clock>>();
    everywhere::<Box<dyn Signal>>();
    // A call only names the type of its result; it holds none.
    everywhere::<Call<Cell<u8>>>();
    everywhere::<TaskDef<Cell<u8>, Cell<u8>>>();
    send::<Work<Cell<u8>>>();
    send::<Job>();
};

fn message(payload: usize) -> Message {
    let task = TaskName::new("add").unwrap();
    Message::new(TaskId::new("id").unwrap(), QueueName::default(), task, vec![0; payload].into())
}

fn refused(result: Result<(), Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!error.is_retryable());
    error.to_string()
}

#[test]
fn payloads_end_at_the_limit() {
    assert!(message(10).check(10).is_ok());
    let text = "payload: 11 B is not allowed: at most 10 B (setting: limits.payload)";
    assert_eq!(refused(message(11).check(10)), text);
    assert_eq!(refused(check_payload(11, 10)), text);
}

#[test]
fn delays_end_after_a_year() {
    assert!(check_delay(DELAY).is_ok());
    let text = "delay: 31622401 s is not allowed: at most 31622400 s (366 days)";
    let mut message = message(0);
    message.enqueued_at = Timestamp::from_micros(1_000_000);
    for (schedule, allowed) in [
        (Schedule::Now, true),
        (Schedule::After(DELAY), true),
        (Schedule::After(DELAY + Duration::from_secs(1)), false),
        (Schedule::At(Timestamp::from_micros(0)), true),
        (Schedule::At(message.enqueued_at.plus(DELAY)), true),
        (Schedule::At(message.enqueued_at.plus(DELAY + Duration::from_secs(1))), false),
    ] {
        message.schedule = schedule;
        match allowed {
            true => message.check(0).unwrap(),
            false => assert_eq!(refused(message.check(0)), text, "{schedule:?}"),
        }
    }
}

#[test]
fn headers_have_names_that_travel_and_a_sum() {
    let with = |name: &str, bytes: usize| {
        let mut message = message(0);
        message.options.headers.insert(name.to_owned(), "x".repeat(bytes));
        message.check(0)
    };
    assert!(with("trace-parent.A_9", HEADER_BYTES - 16).is_ok());
    assert_eq!(refused(with("a", HEADER_BYTES)), "headers: 16385 B is not allowed: at most 16384 B");
    for name in ["", "a b", "a=b", "a\nb", "é", "a:b"] {
        let text = format!("header name: {name:?} is not allowed: A-Z a-z 0-9 . _ - and not empty");
        assert_eq!(refused(with(name, 0)), text);
    }
}

#[test]
fn batches_have_limits_and_lose_nothing() {
    let sizes = |items: &[usize]| batches(items, |bytes| *bytes).iter().map(|batch| batch.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&[]), [0; 0]);
    assert_eq!(sizes(&[0; BATCH_ITEMS]), [BATCH_ITEMS]);
    assert_eq!(sizes(&[0; BATCH_ITEMS * 2 + 1]), [BATCH_ITEMS, BATCH_ITEMS, 1]);
    assert_eq!(sizes(&[BATCH_BYTES / 2, BATCH_BYTES / 2, 1]), [2, 1]);
    assert_eq!(sizes(&[1, BATCH_BYTES, 1]), [1, 1, 1]);
    assert_eq!(sizes(&[BATCH_BYTES * 3, 1]), [1, 1], "what is larger than a batch travels alone");
}

#[test]
fn errors_say_kind_operation_context_and_cause() {
    let cause = std::io::Error::other("refused");
    let error = Error::new(ErrorKind::Unavailable, "publish", "no connection")
        .with("host", "localhost")
        .with("port", 6379)
        .with_task(TaskId::new("id").unwrap())
        .with_source(cause);
    assert_eq!(error.to_string(), "publish: no connection (host: localhost, port: 6379, task: id)");
    let debug = format!("{error}\n  caused by: refused\n  kind: Unavailable, retryable: true");
    assert_eq!(format!("{error:?}"), debug);
    assert_eq!(format!("{:?}", error.duplicate()), debug, "a copy tells the same");
    assert_eq!(Error::new(ErrorKind::Closed, "fetch", "closed").to_string(), "fetch: closed");
}

#[test]
fn errors_know_whether_trying_again_can_help() {
    use ErrorKind::{
        Closed, Codec, Config, Denied, Internal, Invalid, Rejected, Timeout, Unavailable, Unknown, Unsupported,
    };
    for kind in [Invalid, Config, Unavailable, Unknown, Rejected, Denied, Unsupported, Codec, Timeout, Closed, Internal]
    {
        let error = Error::new(kind, "x", "y");
        assert_eq!(error.is_retryable(), matches!(kind, Unavailable | Unknown | Timeout), "{kind:?}");
        assert!(error.retryable(true).is_retryable());
    }
}

#[test]
fn an_error_is_one_pointer() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}

#[test]
fn the_weight_of_a_record_counts_what_is_large() {
    let record = Record {
        id: TaskId::new("id").unwrap(),
        token: Default::default(),
        state: State::Succeeded,
        attempt: 1,
        at: Timestamp::default(),
        result: Some(Bytes::from_static(b"12345")),
        failure: None,
        status_ttl: windlass_core::Retention::Forever,
        result_ttl: windlass_core::Retention::Forever,
    };
    assert_eq!(record.weight(), 5);
    assert_eq!(Record { result: None, ..record }.weight(), 0);
}
