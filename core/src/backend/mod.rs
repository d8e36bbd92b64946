//! The store that keeps what became of tasks.

mod failure;
mod record;
mod retention;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

pub use failure::{Failure, FailureKind};
pub use record::{Record, RecordError};
pub use retention::Retention;

use crate::{Notebook, Result, TaskId};

/// What a backend can do, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendCapabilities {
    /// The name of the store, for texts.
    pub name: &'static str,
    /// Waiters are woken by the store; without it they poll.
    pub push: bool,
    /// Records end by themselves when their retention is over.
    pub expiry: bool,
}

impl BackendCapabilities {
    /// Everything that windlass knows of; adapters switch off what they cannot.
    pub const fn all(name: &'static str) -> Self {
        Self { name, push: true, expiry: true }
    }
}

/// What became of one saved record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveOutcome {
    /// It is stored (or, with retention "none", told to the waiters).
    Saved,
    /// A later claim or a final state is stored already; nothing was changed.
    Refused,
}

/// A store that keeps what became of tasks.
///
/// # Contract
/// Every adapter passes `windlass_testing::conformance::backend`. In short:
///
/// * **Guarded writes.** [`Backend::save`] stores a record only if [`Record::replaces`] says so
///   about what is stored, in one server-side step; so a worker that lost its claim cannot
///   overwrite what the new owner wrote.
/// * **Waiters are told.** A final record wakes everyone who waits for it, on any process. The
///   wake-up is a hint; the truth is read at least every few seconds.
/// * **Everything ends.** State and result have a retention of their own; see [`Retention`].
///
/// # Cancel safety
/// Dropping `save` may leave it applied or not; saving the same record again is harmless.
/// Dropping `load` and `wait` changes nothing.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> BackendCapabilities;

    /// Stores records; the answers are in the order of `records`.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; the call may be repeated. `Rejected` if the store refused.
    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>>;

    /// Reads records; the answers are in the order of `ids`, `None` for what is not there.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached.
    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>>;

    /// Waits at most `timeout` until the task has ended; `None` if it has not.
    ///
    /// # Errors
    /// `Closed` after [`Backend::close`]. An unreachable store is waited for, not reported.
    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>>;

    /// Removes records.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached.
    async fn forget(&self, ids: &[TaskId]) -> Result<()>;

    /// The notebook of the same store, if it has one: workflows, periodic tasks, progress and whatever
    /// else parts of an application agree on need it, and say so where it is missing.
    fn notebook(&self) -> Option<&dyn Notebook> {
        None
    }

    /// Releases connections. Everything after it answers [`crate::ErrorKind::Closed`].
    async fn close(&self);
}
