//! The nouns and rules of windlass.
//!
//! This crate holds what travels ([`Message`]), what may happen to it ([`state`]), when it is
//! tried again ([`policy`]), and the two traits behind which every store lives ([`Broker`] and
//! [`Backend`]).
//! It does no I/O, starts no task, and reads neither clock, environment nor random numbers: what
//! it needs of those is passed in.
//! Applications use the `windlass` crate; adapter authors depend on this one.

pub mod error;
pub mod id;
pub mod limits;
pub mod time;

pub mod message;
pub mod policy;
pub mod state;

pub mod backend;
pub mod broker;
pub mod flow;
pub mod notebook;
pub mod periodic;
pub mod task;

pub use backend::{Backend, BackendCapabilities, Failure, FailureKind, Record, Retention, SaveOutcome};
pub use broker::{
    Broker, CancelOutcome, Capabilities, DeadLetter, DeadPage, Delivery, Disposition, FetchRequest, LeaseStatus,
    Location, PublishOutcome, QueueLimit, Receipt, Replay, Reserve, SettleOutcome, Settlement, Undecodable,
};
pub use error::{Error, ErrorKind, Result};
pub use flow::{Flow, FlowPart, IntoFlow};
pub use id::{QueueName, TaskId, TaskName, Token};
pub use message::{Message, Options, Priority, Schedule};
pub use notebook::{Expected, Heard, Listener, Note, NoteChange, NoteKey, NotePage, Notebook, Place, WriteOutcome};
pub use policy::{Backoff, ExecutionPolicy, RetryOn};
pub use state::{Event, Progress, Snapshot, State, Transition, transition};
pub use task::{Call, Context, Interrupt, Registry, Shared, Task, TaskDef, TaskError};
pub use time::{Clock, IntoDuration, Timestamp};
