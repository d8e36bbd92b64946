//! Ready-made names, messages and records for tests.

use std::time::Duration;

use bytes::Bytes;
use windlass_core::{
    Backoff, Clock, Failure, FailureKind, Message, Options, Priority, QueueName, Record, Retention, RetryOn, State,
    TaskId, TaskName, Token,
};

use crate::TokioClock;

/// A queue that nobody else uses.
pub fn queue() -> QueueName {
    QueueName::new(format!("test-{:016x}", fastrand::u64(..))).expect("letters and digits are a name")
}

/// An id that nobody else uses.
pub fn task_id() -> TaskId {
    let mut random = [0; 10];
    fastrand::Rng::new().fill(&mut random);
    TaskId::v7(u64::try_from(TokioClock.now().as_millis()).unwrap_or(0), random)
}

/// A message with an id of its own that is due at once, for the task `test.task`.
pub fn message(queue: &QueueName, payload: impl Into<Bytes>) -> Message {
    let task = TaskName::new("test.task").expect("a valid name");
    Message { enqueued_at: TokioClock.now(), ..Message::new(task_id(), queue.clone(), task, payload.into()) }
}

/// Messages whose payloads are their numbers, from 0.
pub fn messages(queue: &QueueName, count: usize) -> Vec<Message> {
    (0..count).map(|number| message(queue, number.to_string())).collect()
}

/// Options with every field set that travels with a message.
pub fn every_option() -> Options {
    Options {
        queue: None,
        priority: Some(Priority::High),
        delay: None,
        run_at: None,
        expires: Some(Duration::from_secs(3_600)),
        deadline: Some(TokioClock.now().plus(Duration::from_secs(7_200))),
        max_retries: Some(7),
        backoff: Some(Backoff::exponential(Duration::from_millis(1_500), 2.5, Duration::from_secs(600))),
        retry_on: Some(RetryOn { errors: true, timeouts: false, panics: true }),
        timeout: Some(Duration::from_secs(30)),
        soft_timeout: Some(Duration::from_millis(29_500)),
        status_ttl: Some(Retention::Forever),
        result_ttl: Some(Retention::For(Duration::from_secs(60))),
        headers: [("trace.id", "a=b%20\r\nc"), ("empty", ""), ("name", "Gödel 日本 \u{1F980}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}

/// Bytes that no text format survives: every byte value, among them NUL, line feeds and broken UTF-8.
pub fn binary() -> Bytes {
    (0..=255).chain([0xFF, 0xFE, 0, b'\r', b'\n', b'\n']).collect()
}

/// A mebibyte of bytes that look random and are always the same.
pub fn large() -> Bytes {
    (0..1_048_576_u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

/// A shelf that nobody else uses. Its name lives as long as the program, so it is for tests.
pub fn shelf() -> &'static str {
    let letters: String = (0..16).map(|_| fastrand::lowercase()).collect();
    letters.leak()
}

/// A topic that nobody else uses.
pub fn topic() -> String {
    format!("test-{:016x}", fastrand::u64(..))
}

/// A record of the first claim of a task of its own, kept for an hour.
pub fn record(state: State) -> Record {
    record_of(&task_id(), Token(1), state)
}

/// A record of that claim, kept for an hour, with what belongs to the state.
pub fn record_of(id: &TaskId, token: Token, state: State) -> Record {
    let kept = Retention::For(Duration::from_secs(3_600));
    let failed = matches!(state, State::Failed | State::Retrying);
    Record {
        id: id.clone(),
        token,
        state,
        attempt: 1,
        at: TokioClock.now(),
        result: (state == State::Succeeded).then(|| Bytes::from_static(b"5")),
        failure: failed.then(|| Failure::new(FailureKind::Error, "it failed", 1)),
        status_ttl: kept,
        result_ttl: kept,
    }
}
