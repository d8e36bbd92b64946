use std::time::Duration;

use crate::policy::FailureClass;

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its time has come.
    Due,
    /// A worker has taken it and is about to run it.
    Claimed {
        /// Whether a worker that was lost had begun to run it; what was only fetched is not to blame
        /// for the loss.
        begun: bool,
    },
    /// The run ended well.
    Succeeded,
    /// The run went wrong.
    Failed(FailureClass),
    /// The task asked to run again after this long, without an error.
    Snoozed(Duration),
    /// Somebody, or the task itself, ended it for good.
    Cancelled,
    /// It was not started in time.
    Expired,
    /// The worker gives it back unfinished, because it shuts down.
    Released,
    /// The worker that had it is gone.
    LeaseLost,
    /// No handler of that name, or an envelope of a newer version: another worker may know it.
    Unhandled,
    /// The bytes are not a message.
    Undecodable,
    /// Somebody put a dead letter back.
    Replayed,
}
