use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{FlowPart, Input};
use crate::message::{Schedule, wire};
use crate::time::millis;
use crate::{Error, ErrorKind, Message, QueueName, Result, TaskId, TaskName, Timestamp};

/// What a node of a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A task that needs nobody. What is stored of it is only what follows from it.
    Root,
    /// A task that waits for others; its message is published when it has all that it needs.
    Task,
    /// No task: a group whose results are kept where they were gathered.
    Gather,
}

/// A node of a flow as it is stored, under the id of its task.
///
/// ```text
/// 1 task <queue> now\n            root, task or gather; now, +<milliseconds> or @<microseconds UTC>
/// <the message, see crate::message::wire>
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FlowNode {
    /// What it is.
    pub role: Role,
    /// What is published when its time has come.
    pub message: Message,
}

impl FlowNode {
    /// What is kept of a task that is published at once.
    pub fn root(message: &Message) -> Self {
        let bare = Message::new(message.id.clone(), message.queue.clone(), message.task.clone(), Bytes::new());
        Self { role: Role::Root, message: Message { flow: message.flow.clone(), ..bare } }
    }

    /// A group that nobody takes.
    ///
    /// # Errors
    /// Never; the name is valid.
    pub fn gather(id: TaskId, part: FlowPart) -> Result<Self> {
        let task = TaskName::new("windlass:gather")?;
        let message = Message::new(id, QueueName::default(), task, Bytes::new());
        Ok(Self { role: Role::Gather, message: Message { flow: Some(Box::new(part)), ..message } })
    }

    /// The bytes of the note.
    pub fn encode(&self) -> Bytes {
        let role = match self.role {
            Role::Root => "root",
            Role::Task => "task",
            Role::Gather => "gather",
        };
        let mut out = format!("1 {role} {} ", self.message.queue);
        let _ = match self.message.schedule {
            Schedule::Now => writeln!(out, "now"),
            Schedule::After(span) => writeln!(out, "+{}", millis(span)),
            Schedule::At(at) => writeln!(out, "@{}", at.as_micros()),
        };
        let mut out = out.into_bytes();
        out.extend_from_slice(&wire::encode(&self.message));
        out.into()
    }

    /// Reads the bytes of a note.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if they are none.
    pub fn decode(id: TaskId, bytes: &Bytes) -> Result<Self> {
        let damaged = || Error::new(ErrorKind::Codec, "flow", "what is stored of a task cannot be read");
        let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(damaged)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| damaged())?;
        let mut words = head.split(' ');
        let ("1", role) = (words.next().unwrap_or_default(), words.next()) else { return Err(damaged()) };
        let role = match role {
            Some("root") => Role::Root,
            Some("task") => Role::Task,
            Some("gather") => Role::Gather,
            _ => return Err(damaged()),
        };
        let queue = QueueName::new(words.next().unwrap_or_default())?;
        let schedule = schedule(words.next().unwrap_or_default()).ok_or_else(damaged)?;
        let message = wire::decode(id, queue, &bytes.slice(end + 1..))
            .map_err(|malformed| Error::new(ErrorKind::Codec, "flow", malformed.to_string()))?;
        Ok(Self { role, message: Message { schedule, ..message } })
    }

    /// What it is part of.
    pub fn part(&self) -> Option<&FlowPart> {
        self.message.flow.as_deref()
    }
}

fn schedule(text: &str) -> Option<Schedule> {
    match text.split_at_checked(1)? {
        ("n", "ow") => Some(Schedule::Now),
        ("+", span) => Some(Schedule::After(Duration::from_millis(span.parse().ok()?))),
        ("@", at) => Some(Schedule::At(Timestamp::from_micros(at.parse().ok()?))),
        _ => None,
    }
}

/// What is known of a flow as a whole, under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many tasks it has; they have the numbers from 0.
    pub tasks: u32,
    /// How many nodes it has: the tasks, and then the groups that nobody takes.
    pub nodes: u32,
    /// The number of the node whose end is that of the flow.
    pub end: u32,
    /// If that is a group: what its results make.
    pub group: Option<Input>,
    /// How long what it needs is kept, in milliseconds.
    pub keep: u64,
    /// Whether its first tasks were published.
    pub started: bool,
    /// Whether one of them was refused, for which all were cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

impl Summary {
    /// The bytes of the note.
    ///
    /// # Errors
    /// Never; numbers can be written.
    pub fn encode(&self) -> Result<Bytes> {
        crate::message::codec::encode("flow", self)
    }

    /// Reads the bytes of a note.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        crate::message::codec::decode("flow", bytes)
    }
}
