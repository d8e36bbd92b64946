use super::{Content, Stored, When};
use crate::{Failure, FailureKind, State, TaskId, TaskName};

/// How a task of a flow has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With something to hand on.
    Succeeded(Content),
    /// For good, without a result: failed, cancelled or expired.
    Failed(Failure),
}

/// What becomes of a task because of the end of one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is given this.
    Given(Stored),
    /// It cannot run any more: it fails too.
    Fails,
    /// It need not run any more.
    NotNeeded,
}

/// What the end of a task means for one that follows.
pub fn fate(when: When, end: &End) -> Fate {
    match (when, end) {
        (When::Success, End::Succeeded(content)) => Fate::Given(Stored::plain(content.clone())),
        (When::Success, End::Failed(_)) => Fate::Fails,
        (When::Failure, End::Succeeded(_)) => Fate::NotNeeded,
        (When::Failure, End::Failed(failure)) => Fate::Given(Stored::failure(failure)),
        (When::End, End::Succeeded(content)) => Fate::Given(Stored::ok(content.clone())),
        (When::End, End::Failed(failure)) => Fate::Given(Stored::err(failure)),
    }
}

/// The task because of which others fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Which task.
    pub id: TaskId,
    /// Its name.
    pub task: TaskName,
    /// Why it has no result.
    pub failure: Failure,
}

impl Upstream {
    /// Why a task has failed that ended in `state`; a cancelled or expired one has not always said it.
    pub fn of(id: TaskId, task: TaskName, state: State, failure: Option<Failure>) -> Self {
        let unsaid = || match state {
            State::Cancelled => Failure::new(FailureKind::Cancelled, "it was cancelled", 0),
            State::Expired => Failure::new(FailureKind::Expired, "it expired before a worker started it", 0),
            _ => Failure::new(FailureKind::Error, format!("it is {state}"), 0),
        };
        let failure = failure.unwrap_or_else(unsaid);
        Self { id, task, failure }
    }

    /// The failure of a task that needs the result.
    pub fn downstream(&self) -> Failure {
        let Self { id, task, failure } = self;
        let mut made = Failure::new(FailureKind::Upstream, format!("it needs the result of {task} ({id})"), 0);
        made.causes = vec![failure.to_string()];
        made
    }
}
