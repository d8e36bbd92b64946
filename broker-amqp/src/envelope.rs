//! What travels beside the body: AMQP properties and headers of our own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use windlass_core::{Priority, Progress, TaskId, Timestamp, Token};

const BASE: &str = "windlass-base";
const PROGRESS: &str = "windlass-progress";
const LEVEL: &str = "windlass-level";
const REASON: &str = "windlass-reason";
const DIED: &str = "windlass-died";

/// Each redelivery by the server counts this much in a token; in between is room for claims that
/// begin again without the server.
const REDELIVERY: u64 = 1 << 10;
/// A copy has a token that is greater than that of its original by at least this much.
const COPY: u64 = 1 << 16;

/// What we say about a message beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The least token of a claim of it.
    pub(crate) base: u64,
    pub(crate) progress: Progress,
    /// Its level, where the queue that it is in does not tell.
    pub(crate) level: Option<Priority>,
    /// For dead letters: why and when.
    pub(crate) death: Option<(String, Timestamp)>,
}

impl Stamp {
    /// That of a message that was never in the broker.
    pub(crate) fn fresh() -> Self {
        Self { base: now(), progress: Progress::default(), level: None, death: None }
    }

    /// That of a copy of what was claimed with `token`.
    pub(crate) fn copy(token: Token, progress: Progress) -> Self {
        Self { base: now().max(token.0.saturating_add(COPY)), progress, level: None, death: None }
    }

    pub(crate) fn properties(&self, id: &TaskId) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(BASE.into(), AMQPValue::LongLongInt(i64::try_from(self.base).unwrap_or(i64::MAX)));
        if self.progress != Progress::default() {
            headers.insert(PROGRESS.into(), long(self.progress.to_string()));
        }
        if let Some(level) = self.level {
            headers.insert(LEVEL.into(), long(level.as_str()));
        }
        if let Some((reason, died)) = &self.death {
            headers.insert(REASON.into(), long(reason.as_str()));
            headers.insert(DIED.into(), AMQPValue::LongLongInt(died.as_micros()));
        }
        let id = id.with_str(|id| ShortString::from(id));
        BasicProperties::default().with_delivery_mode(2).with_message_id(id).with_headers(headers)
    }
}

fn long(text: impl Into<LongString>) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// A message as it came from the server.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) id: TaskId,
    pub(crate) stamp: Stamp,
    /// How often the server has taken it back from a consumer, as far as it counts.
    pub(crate) returns: u64,
    /// Whether it was handed out before.
    pub(crate) redelivered: bool,
    pub(crate) bytes: Bytes,
}

impl Letter {
    pub(crate) fn read(delivery: lapin::message::Delivery) -> Self {
        let properties = &delivery.properties;
        let headers = properties.headers().as_ref();
        let get = |name: &str| headers.and_then(|headers| headers.inner().get(name));
        let number = |name: &str| get(name).and_then(number);
        let stamp = Stamp {
            base: number(BASE).unwrap_or_default(),
            progress: get(PROGRESS).and_then(text).map(|text| Progress::read(&text)).unwrap_or_default(),
            level: get(LEVEL).and_then(text).and_then(|text| text.parse().ok()),
            death: death(&get),
        };
        let returns =
            number("x-delivery-count").unwrap_or_default().max(number("x-acquired-count").unwrap_or_default());
        // Somebody else wrote it: it gets a name, so that it can be settled and listed.
        let id = properties.message_id().as_ref().and_then(|id| TaskId::new(id.as_str()).ok()).unwrap_or_else(unnamed);
        Self { id, stamp, returns, redelivered: delivery.redelivered, bytes: delivery.data.into() }
    }

    /// The token of a claim that begins now.
    pub(crate) fn token(&self) -> Token {
        Token(self.stamp.base.saturating_add(self.returns.saturating_mul(REDELIVERY)))
    }

    /// What it has been through, with what the server has counted.
    pub(crate) fn progress(&self) -> Progress {
        let losses = u32::try_from(self.returns).unwrap_or(u32::MAX);
        let progress = self.stamp.progress;
        Progress { losses: progress.losses.saturating_add(losses), ..progress }
    }
}

/// Why and when it died: our own words, or what the server notes when it moves a message.
fn death<'a>(get: &impl Fn(&str) -> Option<&'a AMQPValue>) -> Option<(String, Timestamp)> {
    let died = get(DIED).and_then(number).and_then(|micros| i64::try_from(micros).ok());
    if let (Some(reason), Some(died)) = (get(REASON).and_then(text), died) {
        return Some((reason, Timestamp::from_micros(died)));
    }
    let deaths = match get("x-death")? {
        AMQPValue::FieldArray(deaths) => deaths.as_slice(),
        _ => return None,
    };
    let AMQPValue::FieldTable(last) = deaths.first()? else { return None };
    let reason = last.inner().get("reason").and_then(text).unwrap_or_default();
    let seconds = last.inner().get("time").and_then(number).unwrap_or_default();
    let died = Timestamp::from_micros(i64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000));
    Some((format!("RabbitMQ moved it to the dead letters: {reason}"), died))
}

fn unnamed() -> TaskId {
    TaskId::new(format!("unnamed-{:016x}", fastrand::u64(..))).expect("the name is short and plain")
}

fn number(value: &AMQPValue) -> Option<u64> {
    let number = match value {
        AMQPValue::LongLongInt(number) => *number,
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::Timestamp(number) => return Some(*number),
        _ => return None,
    };
    u64::try_from(number).ok()
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// Microseconds since 1970, a greater number each time.
pub(crate) fn now() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(Timestamp::from(SystemTime::now()).as_micros()).unwrap_or_default();
    let last = LAST.fetch_max(now, Ordering::Relaxed);
    if now > last { now } else { LAST.fetch_add(1, Ordering::Relaxed) + 1 }
}

#[cfg(test)]
mod tests {
    use lapin::message::Delivery;

    use super::*;

    fn read(properties: BasicProperties) -> Letter {
        let mut delivery = Delivery::mock(1, "".into(), "".into(), false, b"body".to_vec());
        delivery.properties = properties;
        Letter::read(delivery)
    }

    #[test]
    fn what_is_written_is_read() {
        let progress = Progress { failures: 1, losses: 2, snoozes: 3, parks: u32::MAX, max_retries: Some(9) };
        let death = Some(("no retry left: \"Gödel\"\n".to_owned(), Timestamp::from_micros(1_763_710_000_000_001)));
        let stamp = Stamp { base: 77, progress, level: Some(Priority::Low), death };
        let id = TaskId::new("invoice:1").unwrap();
        let letter = read(stamp.properties(&id));
        assert_eq!((letter.id, letter.stamp, &letter.bytes[..]), (id, stamp, &b"body"[..]));
    }

    #[test]
    fn a_foreign_message_gets_a_name() {
        let letter = read(BasicProperties::default());
        assert!(letter.id.to_string().starts_with("unnamed-"));
        assert_eq!(letter.progress(), Progress::default());
    }

    #[test]
    fn tokens_grow_with_each_return_and_each_copy() {
        let mut letter = read(Stamp::fresh().properties(&TaskId::new("1").unwrap()));
        let first = letter.token();
        letter.returns = 1;
        assert!(letter.token() > first);
        assert_eq!(letter.progress().losses, 1);
        let ahead = Token(now() + 1_000_000_000);
        assert!(Stamp::copy(ahead, Progress::default()).base > ahead.0);
        assert!(Stamp::copy(first, Progress::default()).base > letter.token().0);
    }

    #[test]
    fn stamps_differ() {
        let stamps: Vec<u64> = (0..1000).map(|_| now()).collect();
        assert!(stamps.is_sorted_by(|one, other| one < other));
    }
}
