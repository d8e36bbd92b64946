//! What travels: one task on its way from a client to a worker.

pub mod codec;
pub mod options;
mod priority;
pub mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

pub use codec::{Arguments, FirstRest};
pub use options::Options;
pub use priority::Priority;

use crate::flow::FlowPart;
use crate::{QueueLimit, QueueName, Result, TaskId, TaskName, Timestamp, limits};

/// Application headers: small texts that travel with a task, such as a trace context.
pub type Headers = BTreeMap<String, String>;

/// When a message becomes due, in the broker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schedule {
    /// At once.
    #[default]
    Now,
    /// This long after the broker has accepted it.
    After(Duration),
    /// At this time; at once if it has passed.
    At(Timestamp),
}

/// One task on its way.
///
/// `id`, `queue` and `schedule` travel in the transport's own fields; the rest is the envelope of
/// [`wire`], and `payload` is opaque bytes that no store reads or re-encodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who it is. Publishing the same id twice enqueues one task.
    pub id: TaskId,
    /// Where it waits.
    pub queue: QueueName,
    /// Which handler runs it.
    pub task: TaskName,
    /// When it becomes due.
    pub schedule: Schedule,
    /// When the client sent it.
    pub enqueued_at: Timestamp,
    /// What the call asked for; everything else is decided by the worker.
    pub options: Options,
    /// How long the broker remembers the id after the task is finished, to refuse a second task
    /// of the same id. Set for ids that the caller chose; ids made by windlass are never reused.
    pub remember: Option<Duration>,
    /// How many messages may wait in its queue. Does not travel: it is for the broker that takes it.
    pub limit: Option<QueueLimit>,
    /// What it is part of, if it is part of a workflow.
    pub flow: Option<Box<FlowPart>>,
    /// Fields of the envelope that this version does not know; they are passed on.
    pub unknown: Vec<(String, String)>,
    /// The encoded arguments.
    pub payload: Bytes,
}

impl Message {
    /// A message that is due at once and asks for nothing special.
    pub fn new(id: TaskId, queue: QueueName, task: TaskName, payload: Bytes) -> Self {
        Self {
            id,
            queue,
            task,
            schedule: Schedule::Now,
            enqueued_at: Timestamp::default(),
            options: Options::default(),
            remember: None,
            limit: None,
            flow: None,
            unknown: Vec::new(),
            payload,
        }
    }

    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        self.options.priority.unwrap_or_default()
    }

    /// Checks sizes and delays.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] that names field, value and limit.
    pub fn check(&self, payload_limit: usize) -> Result<()> {
        limits::check_payload(self.payload.len(), payload_limit)?;
        options::check_headers(&self.options.headers)?;
        match self.schedule {
            Schedule::After(delay) => limits::check_delay(delay),
            Schedule::At(at) => limits::check_delay(at.since(self.enqueued_at)),
            Schedule::Now => Ok(()),
        }
    }
}
