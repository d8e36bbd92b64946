use std::time::Duration;

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use windlass_core::message::wire;
use windlass_core::{Message, QueueLimit, QueueName, Schedule, TaskId, Timestamp, limits};

/// A written message as it lies in the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) message: Message,
    /// What was left of its delay when it was claimed.
    delay: Option<Duration>,
}

/// Why a row cannot be published, as far as the broker or we can tell.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) seq: i64,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(seq: i64, reason: impl ToString) -> Self {
        let mut reason = reason.to_string();
        reason.truncate(reason.floor_char_boundary(limits::ERROR_BYTES));
        // Postgres has no zero in texts.
        Self { seq, reason: reason.replace('\0', "\u{FFFD}") }
    }
}

impl Row {
    /// The message to hand to the broker `elapsed` after the claim.
    pub(super) fn message(&self, elapsed: Duration) -> Message {
        let Some(delay) = self.delay else { return self.message.clone() };
        let left = delay.saturating_sub(elapsed);
        let schedule = if left.is_zero() { Schedule::Now } else { Schedule::After(left) };
        Message { schedule, ..self.message.clone() }
    }
}

/// What a claim returns of one row.
pub(super) struct Read {
    pub(super) row: Result<Row, Refusal>,
    /// How long it has waited.
    pub(super) age: Duration,
    /// How many rows the claim has looked at.
    pub(super) seen: usize,
}

/// Reads what a claim has returned.
pub(super) fn read(row: &PgRow) -> Result<Read, sqlx::Error> {
    let seq = row.try_get("seq")?;
    let seen: i64 = row.try_get("seen")?;
    let age = micros(row.try_get("age_us")?);
    let read = match decode(row)? {
        Ok((message, delay)) => Ok(Row { seq, message, delay: delay.map(|delay| delay.saturating_sub(age)) }),
        Err(reason) => Err(Refusal::new(seq, reason)),
    };
    Ok(Read { row: read, age, seen: usize::try_from(seen).unwrap_or(0) })
}

pub(super) fn micros(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

/// The limit of a queue, which does not travel with the message.
pub(super) fn limit_text(limit: &QueueLimit) -> String {
    format!("{} {}", limit.max, limit.overflow)
}

/// What [`limit_text`] has written; what it has not is no limit.
fn read_limit(text: &str) -> Option<QueueLimit> {
    let (max, overflow) = text.split_once(' ')?;
    Some(QueueLimit { max: max.parse().ok()?, overflow: overflow.parse().ok()? })
}

/// The message and its delay from the time at which it was written; or why the row is none.
pub(super) fn decode(row: &PgRow) -> Result<Result<(Message, Option<Duration>), String>, sqlx::Error> {
    let (id, queue): (&str, &str) = (row.try_get("id")?, row.try_get("queue")?);
    let delay: Option<i64> = row.try_get("delay_us")?;
    let due: Option<i64> = row.try_get("due_us")?;
    let body = Bytes::from(row.try_get::<Vec<u8>, _>("body")?);
    let limit = row.try_get::<Option<&str>, _>("queue_limit")?.and_then(read_limit);
    let names = TaskId::new(id).and_then(|id| Ok((id, QueueName::new(queue)?)));
    let message = names
        .map_err(|error| error.to_string())
        .and_then(|(id, queue)| wire::decode(id, queue, &body).map_err(|malformed| malformed.to_string()));
    let delay = delay.map(micros);
    Ok(message.map(|message| {
        let schedule = match (due, delay) {
            (Some(due), _) => Schedule::At(Timestamp::from_micros(due)),
            (None, Some(delay)) => Schedule::After(delay),
            (None, None) => Schedule::Now,
        };
        (Message { schedule, limit, ..message }, delay.filter(|_| due.is_none()))
    }))
}
