use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::cadence::millis;
use super::tick::{HEADER_NAME, HEADER_TICK, offset, rfc3339, tick_id};
use super::{Cadence, MissedTicks};
use crate::message::{codec, wire};
use crate::{Error, ErrorKind, Message, QueueName, Result, Schedule, TaskId, Timestamp};

/// Longest name of an entry, so that the id of a tick is not too long.
pub const NAME_BYTES: usize = 100;

/// How long the broker remembers the id of a tick after its task has ended.
pub const REMEMBER: Duration = Duration::from_secs(86_400);

/// The version of the text form that this crate writes.
const VERSION: u32 = 1;

/// Refuses what cannot be the name of an entry.
///
/// # Errors
/// [`ErrorKind::Invalid`] that names the bad character or the limit.
pub fn check_name(name: &str) -> Result<()> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
    let allowed = format_args!("1 to {NAME_BYTES} bytes of A-Z a-z 0-9 . _ - :").to_string();
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(ok) {
        return Err(Error::invalid("periodic name", format_args!("{name:?}"), allowed));
    }
    tick_id(name, Timestamp::default()).map(drop)
}

/// Ticks that a scheduler has taken upon itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Tells this claim from others of the same entry.
    pub id: u64,
    /// When it was made, by the clock of who made it.
    pub at: Timestamp,
    /// The ticks.
    pub ticks: Vec<Timestamp>,
    /// Where their tasks go, whatever becomes of the entry meanwhile: another queue would not know
    /// their ids.
    pub queue: QueueName,
}

impl Claim {
    /// Who made a claim publishes within this time, or takes the claim over again first.
    pub const FRESH: Duration = Duration::from_secs(10);
    /// Others leave a claim alone for this long after they have seen it.
    pub const TAKE_OVER: Duration = Duration::from_secs(30);
}

/// A task that comes again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The task as it is sent at each tick, but for its id and its time.
    pub message: Message,
    /// When it comes.
    pub cadence: Cadence,
    /// What becomes of ticks that were missed.
    pub missed: MissedTicks,
    /// Each task waits for a part of this time after its tick, so that many entries do not come at once.
    pub jitter: Duration,
    /// Whether it rests.
    pub paused: bool,
    /// The newest tick that is dealt with; at first, when the entry was made.
    pub last: Timestamp,
    /// Ticks that are claimed and not known to be published.
    pub claim: Option<Claim>,
}

/// Everything but the message, as it stands in the first line of a note.
#[derive(Serialize, Deserialize)]
struct Head {
    v: u32,
    queue: QueueName,
    cadence: Cadence,
    missed: MissedTicks,
    #[serde(with = "millis", default)]
    jitter: Duration,
    paused: bool,
    last: Timestamp,
    claim: Option<Claim>,
}

/// The part of [`Head`] that every version has.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl Entry {
    /// Whether both are the same but for what happens while they run: ticks, claims, pauses.
    pub fn is_defined_as(&self, other: &Self) -> bool {
        let parts = |entry: &Self| (entry.message.clone(), entry.cadence.clone(), entry.missed, entry.jitter);
        parts(self) == parts(other)
    }

    /// The value of its note: a line of JSON, and the message as it travels.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if a value cannot be written.
    pub fn encode(&self) -> Result<Bytes> {
        let Self { message, cadence, missed, jitter, paused, last, claim } = self.clone();
        let head = Head { v: VERSION, queue: message.queue.clone(), cadence, missed, jitter, paused, last, claim };
        let head = codec::encode("periodic entry", &head)?;
        let message = wire::encode(&message);
        let mut value = BytesMut::with_capacity(head.len() + 1 + message.len());
        value.extend_from_slice(&head);
        value.put_u8(b'\n');
        value.extend_from_slice(&message);
        Ok(value.freeze())
    }

    /// Reads the value of the note of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] that says where it is broken, [`ErrorKind::Unsupported`] if a newer windlass
    /// has written it.
    pub fn decode(name: &str, value: &Bytes) -> Result<Self> {
        Self::read(name, value).map_err(|error| error.with("entry", name))
    }

    fn read(name: &str, value: &Bytes) -> Result<Self> {
        let line = value.iter().position(|b| *b == b'\n').unwrap_or(value.len());
        let head = &value[..line];
        let Version { v } = codec::decode("periodic entry", head)?;
        if v > VERSION {
            let text = format!("written by a newer version ({v}); this one reads up to {VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, "periodic entry", text));
        }
        let Head { queue, cadence, missed, jitter, paused, last, claim, .. } = codec::decode("periodic entry", head)?;
        let bytes = value.slice((line + 1).min(value.len())..);
        let message = wire::decode(Self::template_id(name)?, queue, &bytes)
            .map_err(|error| Error::new(ErrorKind::Codec, "periodic entry", error.to_string()))?;
        Ok(Self { message, cadence, missed, jitter, paused, last, claim })
    }

    /// The message of an entry has an id too, which is never sent.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a bad name.
    pub fn template_id(name: &str) -> Result<TaskId> {
        TaskId::new(name)
    }

    /// The task of a tick that is sent now, to the queue of the claim.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the name is too long.
    pub fn task_of(&self, name: &str, tick: Timestamp, queue: &QueueName, now: Timestamp) -> Result<Message> {
        let id = tick_id(name, tick)?;
        let wait = offset(&id, self.jitter);
        let mut message = Message { id, queue: queue.clone(), enqueued_at: now, ..self.message.clone() };
        if !wait.is_zero() && tick.plus(wait) > now {
            message.schedule = Schedule::At(tick.plus(wait));
        }
        message.remember = Some(message.remember.map_or(REMEMBER, |remember| remember.max(REMEMBER)));
        let headers = &mut message.options.headers;
        headers.insert(HEADER_NAME.to_owned(), name.to_owned());
        headers.insert(HEADER_TICK.to_owned(), rfc3339(tick));
        Ok(message)
    }
}
