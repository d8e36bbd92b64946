//! Asking for a task to be cancelled, wherever it is.
//!
//! What waits is taken out of the queue by the broker, in one step. What runs cannot be taken out of
//! anything: the request is a note that lasts, and a signal to the workers, who look for such notes
//! anyway. Whoever has the task ends it, and removes the note.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::message::codec;
use windlass_core::{
    Backend, CancelOutcome, Error, Expected, Failure, FailureKind, NoteChange, Notebook, QueueName, Record, Result,
    Retention, SaveOutcome, State, TaskId, Timestamp, WriteOutcome, limits,
};

use crate::client::Client;
use crate::notes::{self, CANCEL};
use crate::pause::in_time;

/// Longest reason, in bytes.
const REASON_BYTES: usize = 1024;
/// How long a request lasts if nobody can follow it: longer than any worker can be out of reach and
/// come back with its claim.
const KEPT: Duration = Duration::from_secs(86_400);
/// A task that was enqueued this much later than the request has only the id in common with the one that
/// was meant. Clocks of clients differ.
const SKEW: Duration = Duration::from_secs(60);

/// What became of a request to cancel a task. It equals a [`CancelOutcome`] that says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancellation {
    /// What was done.
    pub outcome: CancelOutcome,
    /// Where the task was: scheduled, queued, retrying or running; `None` if that is not known, or if it
    /// was nowhere.
    pub was: Option<State>,
}

impl PartialEq<CancelOutcome> for Cancellation {
    fn eq(&self, outcome: &CancelOutcome) -> bool {
        self.outcome == *outcome
    }
}

impl fmt::Display for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did = match self.outcome {
            CancelOutcome::Cancelled => "cancelled",
            CancelOutcome::Requested => "asked to end",
            CancelOutcome::Running => "it runs, and nobody can be told",
            CancelOutcome::NotFound => "not found: it has ended, or never was",
        };
        match self.was {
            Some(was) => write!(f, "{did} (it was {was})"),
            None => f.write_str(did),
        }
    }
}

/// A request, as it is noted and signalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: TaskId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) at: Timestamp,
}

impl Request {
    pub(crate) fn read(text: &[u8]) -> Result<Self> {
        codec::decode(CANCEL, text)
    }

    /// Whether it is about a task that was enqueued at that time.
    pub(crate) fn is_about(&self, enqueued: Timestamp) -> bool {
        enqueued <= self.at.plus(SKEW)
    }

    /// Notes it, and tells the workers. The note is what counts; the signal makes it fast.
    pub(crate) async fn send(&self, notebook: &dyn Notebook, kept: Option<Duration>) -> Result<()> {
        let value = codec::encode(CANCEL, self)?;
        let keep = Retention::For(kept.unwrap_or(KEPT));
        let key = notes::key(CANCEL, &self.id)?;
        let change = NoteChange { key, expected: Expected::Anything, value: Some(value.clone()), keep };
        let _: Vec<WriteOutcome> = in_time("cancel", notebook.write(&[change])).await?;
        if let Err(error) = in_time("cancel", notebook.signal(CANCEL, value)).await {
            tracing::warn!(target: "windlass::client", task_id = %self.id, %error, "workers are not told; they look by themselves");
        }
        Ok(())
    }
}

/// Asks tasks that run to end; each is told by the worker that has it.
pub(crate) async fn ask(notebook: &dyn Notebook, at: Timestamp, ids: &[TaskId], reason: Option<&str>) -> Result<()> {
    for id in ids {
        let request = Request { id: id.clone(), reason: reason.map(str::to_owned), at };
        request.send(notebook, None).await?;
    }
    Ok(())
}

/// The requests there are for these tasks; `None` for those that nobody asked for.
pub(crate) async fn requests(notebook: &dyn Notebook, ids: &[TaskId]) -> Result<Vec<Option<Request>>> {
    let keys = ids.iter().map(|id| notes::key(CANCEL, id)).collect::<Result<Vec<_>>>()?;
    let found = in_time("read", notebook.read(&keys)).await?;
    Ok(found.into_iter().map(|note| Request::read(&note?.value).ok()).collect())
}

/// Removes the requests for tasks that have ended. That they stay is no harm: they end by themselves.
pub(crate) async fn withdraw(notebook: &dyn Notebook, ids: &[TaskId]) {
    let changes: Vec<NoteChange> =
        ids.iter().filter_map(|id| Some(notes::removal(notes::key(CANCEL, id).ok()?))).collect();
    if let Err(error) = in_time("write", notebook.write(&changes)).await {
        tracing::debug!(target: "windlass::worker", %error, "requests to cancel stay for a day");
    }
}

/// Refuses a reason that is too long.
pub(crate) fn check_reason(reason: &str) -> Result<()> {
    if reason.len() <= REASON_BYTES {
        return Ok(());
    }
    let value = format_args!("{} B", reason.len()).to_string();
    Err(Error::invalid("reason", value, format_args!("at most {REASON_BYTES} B")))
}

/// How the record of a cancelled task says why; `attempt` is 0 if it was cancelled while it waited.
pub(crate) fn failure(reason: Option<&str>, attempt: u32) -> Failure {
    Failure::new(FailureKind::Cancelled, reason.unwrap_or_default(), attempt)
}

/// Whether a record was written by who cancelled the task, and not by a worker, which names the attempt that
/// it has ended.
pub(crate) fn is_request(stored: &Record) -> bool {
    stored.state == State::Cancelled && stored.failure.as_ref().is_none_or(|failure| failure.attempt == 0)
}

/// How often a record is tried to be written that a worker changes meanwhile.
const TRIES: usize = 5;

/// Cancels a task whose broker cannot find what it holds: a record says that what waits is not run when its
/// turn comes, and a request tells what runs.
pub(crate) async fn by_record(
    backend: &Arc<dyn Backend>,
    now: Timestamp,
    id: &TaskId,
    reason: Option<String>,
) -> Result<Cancellation> {
    let done = |outcome, was| Ok(Cancellation { outcome, was });
    let request = Request { id: id.clone(), reason, at: now };
    for _ in 0..TRIES {
        let stored = in_time("cancel", backend.load(std::slice::from_ref(id))).await?.pop().flatten();
        match &stored {
            // It may have been put back from the dead letters, and wait again.
            Some(record) if record.state == State::Failed => {
                let Some(notebook) = backend.notebook() else { return done(CancelOutcome::NotFound, None) };
                request.send(notebook, Some(limits::DELAY + KEPT)).await?;
                return done(CancelOutcome::Requested, None);
            }
            Some(record) if record.state.is_final() => return done(CancelOutcome::NotFound, None),
            _ => {}
        }
        let was = stored.as_ref().map(|record| record.state);
        let record = cancelled(stored, id, now, request.reason.as_deref());
        // Refused is what a worker has changed since it was read.
        if in_time("cancel", backend.save(&[record])).await?.first() != Some(&SaveOutcome::Refused) {
            if let Some(notebook) = backend.notebook() {
                request.send(notebook, None).await?;
            }
            return done(CancelOutcome::Requested, was);
        }
    }
    done(CancelOutcome::NotFound, None)
}

/// It must be known for as long as the message can wait. The worker that ends the task shortens it.
fn cancelled(stored: Option<Record>, id: &TaskId, now: Timestamp, reason: Option<&str>) -> Record {
    let ttl = Retention::For(limits::DELAY + KEPT);
    let (token, attempt) = stored.map_or_else(Default::default, |record| (record.token, record.attempt));
    Record {
        id: id.clone(),
        token,
        state: State::Cancelled,
        attempt,
        at: now,
        result: None,
        failure: reason.map(|reason| failure(Some(reason), 0)),
        status_ttl: ttl,
        result_ttl: ttl,
    }
}

impl Client {
    /// Cancels a task by its id and its queue, from any process; see [`TaskHandle::cancel`](crate::TaskHandle::cancel).
    ///
    /// # Errors
    /// As [`TaskHandle::cancel_because`](crate::TaskHandle::cancel_because).
    pub async fn cancel(&self, id: TaskId, queue: QueueName, reason: Option<&str>) -> Result<Cancellation> {
        let handle = self.handle_of::<()>(id, queue);
        match reason {
            Some(reason) => handle.cancel_because(reason).await,
            None => handle.cancel().await,
        }
    }
}
