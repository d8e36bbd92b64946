use std::time::Duration;

use bytes::Bytes;

use crate::message::wire::Malformed;
use crate::{Error, Message, Progress, QueueName, State, TaskId, Timestamp, Token};

/// What became of one published message.
#[derive(Debug)]
pub enum PublishOutcome {
    /// It is in the broker.
    Accepted,
    /// A task of this id is already there, or was finished not long ago; nothing was changed.
    Duplicate,
    /// Its queue holds as many as [`Message::limit`] allows; it will never run.
    Full {
        /// How many wait.
        waiting: u64,
    },
    /// The store refused it; it will never run.
    Rejected(Error),
}

impl PublishOutcome {
    /// Whether the broker has taken it.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// The proof of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The queue that it came from.
    pub queue: QueueName,
    /// The claimed task.
    pub id: TaskId,
    /// The claim.
    pub token: Token,
}

/// A claimed message.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The proof of the claim.
    pub receipt: Receipt,
    /// What it has been through.
    pub progress: Progress,
    /// The message, or the bytes that are none.
    pub content: Result<Message, Undecodable>,
}

/// Bytes that are not a message (of this version), and why.
#[derive(Debug, Clone)]
pub struct Undecodable {
    /// What is wrong.
    pub malformed: Malformed,
    /// The bytes as they came.
    pub bytes: Bytes,
}

/// Whether a claim is still ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseStatus {
    /// It is, for another lease.
    Held,
    /// It is not: it ran out, or the message is gone.
    Lost,
}

/// What becomes of a claimed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is finished: remove it.
    Acknowledge,
    /// Offer it again after this long, at the end of the queue.
    Requeue {
        /// How long it waits, in the broker's clock.
        after: Duration,
    },
    /// Offer it again at once, at the head of the queue.
    Release,
    /// Keep it among the dead letters.
    DeadLetter,
}

/// What becomes of one claimed message, and what it has been through by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The proof of the claim.
    pub receipt: Receipt,
    /// What becomes of it.
    pub disposition: Disposition,
    /// The counts to keep with it.
    pub progress: Progress,
    /// The final or intermediate state that the task is in now.
    pub state: State,
    /// For acknowledged ones: how long its id is remembered.
    pub remember: Option<Duration>,
    /// For dead letters: why.
    pub reason: Option<String>,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It was done.
    Settled,
    /// The claim was not ours any more; nothing was changed.
    Lost,
}

/// What became of a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was waiting and is removed; it will never run.
    Cancelled,
    /// The broker cannot take it out of the queue; it is noted that it shall not run. If a worker has
    /// it already, what it answers is not taken.
    Requested,
    /// A worker has it; nothing was changed.
    Running,
    /// The broker does not hold it: it is finished, dead, or never was.
    NotFound,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// It waits for a worker.
    Queued,
    /// It waits for its time.
    Scheduled {
        /// When it becomes due.
        due: Timestamp,
        /// Whether it has failed before.
        retrying: bool,
    },
    /// A worker has it.
    Running {
        /// The claim.
        token: Token,
    },
    /// It is among the dead letters.
    Dead,
}

/// A message that will not run again unless somebody replays it.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The task.
    pub id: TaskId,
    /// When it died.
    pub died_at: Timestamp,
    /// Why.
    pub reason: String,
    /// What it had been through.
    pub progress: Progress,
    /// The message, or the bytes that are none.
    pub content: Result<Message, Undecodable>,
}

/// A dead letter that is to run again.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Which.
    pub id: TaskId,
    /// What runs in its place, under the same id and in the same queue; `None` for what it was.
    pub edited: Option<Message>,
}

impl From<TaskId> for Replay {
    fn from(id: TaskId) -> Self {
        Self { id, edited: None }
    }
}

/// Some dead letters and where the next page begins.
#[derive(Debug, Clone, Default)]
pub struct DeadPage {
    /// The letters, the oldest first.
    pub letters: Vec<DeadLetter>,
    /// Pass it to get the next page; `None` at the end.
    pub next: Option<String>,
}
