//! The only place that turns a [`Message`] into bytes and back.
//!
//! Version 1 is text that any language can write, followed by the payload as it is:
//!
//! ```text
//! windlass/1 add\n
//! at=1763710000000000\n        microseconds UTC; every line but the first is optional
//! retries=3\n
//! \n
//! [2,3]
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | `at` | when it was enqueued, microseconds UTC |
//! | `priority` | `low`, `high` or `critical`; without it `normal` |
//! | `expires` | do not start later than this many milliseconds after `at` |
//! | `deadline` | be finished at this time, microseconds UTC |
//! | `retries` | retries after the first run |
//! | `backoff` | see [`Backoff`](crate::policy::Backoff) |
//! | `retry-on` | any of `errors,timeouts,panics` |
//! | `timeout`, `soft-timeout` | milliseconds |
//! | `status-ttl`, `result-ttl` | milliseconds, `forever` or `none` |
//! | `remember` | how long the id is remembered after the end, milliseconds |
//! | `flow` | the workflow that it is part of: its id, and how long what it needs is kept, milliseconds |
//! | `input` | the first argument, which is not in the payload: how many results, and `one`, `list` or `tuple` |
//! | `next` | what follows, a line each: its id, place and number of its results, and `success`, `failure` or `end` |
//! | `h.<name>` | an application header |
//!
//! In values, `%`, carriage return and line feed are written as `%25`, `%0D` and `%0A`.
//! Lines that are not known are kept and passed on. A greater version is refused with
//! [`Malformed::Newer`], so that the worker can park the message instead of dropping it.

use std::fmt::{Display, Write as _};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use super::Message;
use crate::flow::FlowPart;
use crate::time::millis as millis_of;
use crate::{QueueName, TaskId, TaskName, Timestamp};

/// The version that this crate writes.
pub const VERSION: u32 = 1;

const MAGIC: &str = "windlass/";

/// Why bytes are not a message that this version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Written by a newer windlass.
    #[error("envelope version {found}, this worker reads up to {VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// Not an envelope.
    #[error("envelope: expected {expected} at byte {at}")]
    Bytes {
        /// What should have stood there.
        expected: String,
        /// Where, in bytes from the start.
        at: usize,
    },
}

/// The bytes of a message, without the fields that the transport carries (id, queue, schedule).
pub fn encode(message: &Message) -> Bytes {
    let mut out = String::with_capacity(64 + message.payload.len());
    let _ = writeln!(out, "{MAGIC}{VERSION} {}", message.task);
    line(&mut out, "at", Some(message.enqueued_at.as_micros()).filter(|at| *at != 0));
    let options = &message.options;
    line(&mut out, "priority", options.priority);
    line(&mut out, "expires", options.expires.map(millis_of));
    line(&mut out, "deadline", options.deadline.map(Timestamp::as_micros));
    line(&mut out, "retries", options.max_retries);
    line(&mut out, "backoff", options.backoff);
    line(&mut out, "retry-on", options.retry_on);
    line(&mut out, "timeout", options.timeout.map(millis_of));
    line(&mut out, "soft-timeout", options.soft_timeout.map(millis_of));
    line(&mut out, "status-ttl", options.status_ttl);
    line(&mut out, "result-ttl", options.result_ttl);
    line(&mut out, "remember", message.remember.map(millis_of));
    if let Some(part) = &message.flow {
        line(&mut out, "flow", Some(part.head()));
        line(&mut out, "input", part.input);
        for link in &part.next {
            line(&mut out, "next", Some(link));
        }
    }
    for (name, value) in &options.headers {
        let _ = write!(out, "h.{name}=");
        escape(&mut out, value);
    }
    for (name, value) in &message.unknown {
        let _ = write!(out, "{name}=");
        escape(&mut out, value);
    }
    out.push('\n');
    let mut out = out.into_bytes();
    out.extend_from_slice(&message.payload);
    out.into()
}

fn line(out: &mut String, name: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        let _ = writeln!(out, "{name}={value}");
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            c => out.push(c),
        }
    }
    out.push('\n');
}

fn unescape(value: &str) -> String {
    if !value.contains('%') {
        return value.to_owned();
    }
    value.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
}

/// The message in `bytes`, which came from `queue` under `id`. The payload is not copied.
///
/// # Errors
/// [`Malformed`] with the place and what was expected there; the caller keeps the bytes.
pub fn decode(id: TaskId, queue: QueueName, bytes: &Bytes) -> Result<Message, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    let first = reader.line()?;
    let (version, task) = first
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| malformed("\"windlass/<version> <task name>\"", 0))?;
    let version: u32 = version.parse().map_err(|_| malformed("a version number", MAGIC.len()))?;
    if version == 0 {
        return Err(malformed("a version from 1", MAGIC.len()));
    }
    if version > VERSION {
        return Err(Malformed::Newer { found: version });
    }
    let task = TaskName::new(task).map_err(|error| malformed(error, MAGIC.len() + 2))?;
    let mut message = Message::new(id, queue, task, Bytes::new());
    loop {
        let at = reader.at;
        let line = reader.line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| malformed("name=value", at))?;
        field(&mut message, name, value)
            .map_err(|expected| malformed(format_args!("{expected} in {name}"), at + name.len() + 1))?;
    }
    message.payload = bytes.slice(reader.at..);
    Ok(message)
}

fn field(message: &mut Message, name: &str, value: &str) -> Result<(), &'static str> {
    let options = &mut message.options;
    match name {
        "at" => message.enqueued_at = Timestamp::from_micros(number(value)?),
        "priority" => options.priority = Some(value.parse().map_err(|_| "a priority")?),
        "expires" => options.expires = Some(millis(value)?),
        "deadline" => options.deadline = Some(Timestamp::from_micros(number(value)?)),
        "retries" => options.max_retries = Some(number(value)?),
        "backoff" => options.backoff = Some(value.parse().map_err(|_| "a backoff")?),
        "retry-on" => options.retry_on = Some(value.parse().map_err(|_| "errors, timeouts or panics")?),
        "timeout" => options.timeout = Some(millis(value)?),
        "soft-timeout" => options.soft_timeout = Some(millis(value)?),
        "status-ttl" => options.status_ttl = Some(value.parse().map_err(|_| "a retention")?),
        "result-ttl" => options.result_ttl = Some(value.parse().map_err(|_| "a retention")?),
        "remember" => message.remember = Some(millis(value)?),
        "flow" => message.flow = Some(Box::new(FlowPart::read(value).ok_or("an id and milliseconds")?)),
        "input" => part(message)?.input = Some(value.parse().map_err(|()| "a number and a shape")?),
        "next" => part(message)?.next.push(value.parse().map_err(|()| "an id, a place and an end")?),
        _ => match name.strip_prefix("h.") {
            Some(header) => {
                options.headers.insert(header.to_owned(), unescape(value));
            }
            None => message.unknown.push((name.to_owned(), unescape(value))),
        },
    }
    Ok(())
}

fn part(message: &mut Message) -> Result<&mut FlowPart, &'static str> {
    message.flow.as_deref_mut().ok_or("a line flow before it")
}

fn number<T: FromStr>(value: &str) -> Result<T, &'static str> {
    value.parse().map_err(|_| "a number")
}

fn millis(value: &str) -> Result<Duration, &'static str> {
    number(value).map(Duration::from_millis)
}

fn malformed(expected: impl Display, at: usize) -> Malformed {
    Malformed::Bytes { expected: expected.to_string(), at }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<&'a str, Malformed> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(|| malformed("a line feed", self.bytes.len()))?;
        let line =
            std::str::from_utf8(&rest[..end]).map_err(|error| malformed("UTF-8", self.at + error.valid_up_to()))?;
        self.at += end + 1;
        Ok(line)
    }
}
