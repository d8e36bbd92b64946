use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use windlass_core::flow::{Reference, Summary, node_id};
use windlass_core::message::codec;
use windlass_core::{Error, ErrorKind, Failure, FailureKind, Record, Result, State, TaskId};

use crate::cancel::check_reason;
use crate::client::Client;
use crate::handle::{ResultError, TaskHandle};

/// One wait of the backend; it is repeated.
const WAIT: Duration = Duration::from_secs(3600);
/// Between two looks whether the flow is still known.
const LOOK: Duration = Duration::from_secs(30);
/// Records that are read at a time.
const PAGE: usize = 1000;

/// A handle to a workflow; `O` is the type of what it ends with. Cheap to clone.
pub struct FlowHandle<O> {
    client: Client,
    id: TaskId,
    is_new: bool,
    output: PhantomData<fn() -> O>,
}

/// How many tasks of a workflow are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowProgress {
    /// They have not begun: they wait for other tasks, for their time or for a worker.
    pub waiting: usize,
    /// A worker has them.
    pub running: usize,
    /// They failed and run again.
    pub retrying: usize,
    /// They ended with a result.
    pub succeeded: usize,
    /// They failed for good, or something that they need did.
    pub failed: usize,
    /// They were cancelled, or are not needed.
    pub cancelled: usize,
    /// They were not started in time.
    pub expired: usize,
}

impl FlowProgress {
    /// All tasks.
    pub fn total(&self) -> usize {
        self.waiting + self.running + self.retrying + self.ended()
    }

    /// Tasks that have ended.
    pub fn ended(&self) -> usize {
        self.succeeded + self.failed + self.cancelled + self.expired
    }

    fn count(&mut self, state: Option<State>) {
        let counter = match state {
            None | Some(State::Scheduled | State::Queued) => &mut self.waiting,
            Some(State::Running) => &mut self.running,
            Some(State::Retrying) => &mut self.retrying,
            Some(State::Succeeded) => &mut self.succeeded,
            Some(State::Failed) => &mut self.failed,
            Some(State::Cancelled) => &mut self.cancelled,
            Some(State::Expired) => &mut self.expired,
        };
        *counter += 1;
    }
}

impl<O> FlowHandle<O> {
    pub(super) fn new(client: Client, id: TaskId, is_new: bool) -> Self {
        Self { client, id, is_new, output: PhantomData }
    }

    /// The id of the whole.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Whether `enqueue_flow` made a new workflow; `false` if one of this id was already there.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// How far it is, or `None` if it is not known (any more).
    ///
    /// # Errors
    /// `Unavailable` if the backend cannot be reached.
    pub async fn progress(&self) -> Result<Option<FlowProgress>> {
        let flows = self.client.flows()?;
        let Some(summary) = flows.summary(&self.id).await? else { return Ok(None) };
        let mut progress = FlowProgress::default();
        let numbers: Vec<usize> = (0..summary.tasks as usize).collect();
        for numbers in numbers.chunks(PAGE) {
            let ids: Vec<TaskId> = numbers.iter().map(|number| node_id(&self.id, *number)).collect::<Result<_>>()?;
            for record in flows.records(&ids).await? {
                progress.count(record.map(|record| record.state));
            }
        }
        Ok(Some(progress))
    }

    /// Cancels all of it that has not ended; answers how many tasks that are.
    ///
    /// What waits does not run any more, and what a worker has is told to end; its result is refused.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` if a store cannot be reached: cancel again.
    pub async fn cancel(&self) -> Result<usize> {
        self.cancel_because("the workflow was cancelled").await
    }

    /// As [`FlowHandle::cancel`], with a reason that whoever waits is told.
    ///
    /// # Errors
    /// As [`FlowHandle::cancel`].
    pub async fn cancel_because(&self, reason: impl Into<String>) -> Result<usize> {
        let flows = self.client.flows()?;
        let reason = reason.into();
        check_reason(&reason)?;
        let Some(summary) = flows.summary(&self.id).await? else { return Ok(0) };
        let cancelled = flows.cancel_all(&self.id, &summary, &reason).await?;
        tracing::info!(target: "windlass::client", flow_id = %self.id, tasks = cancelled, "cancel");
        Ok(cancelled)
    }

    /// A handle to one of its tasks, by its number: they are numbered from 0, each after those that it
    /// needs. `None` if there is none of that number.
    ///
    /// # Errors
    /// `Unavailable` if the backend cannot be reached.
    pub async fn task<T>(&self, number: usize) -> Result<Option<TaskHandle<T>>> {
        let flows = self.client.flows()?;
        let node = flows.nodes(&[node_id(&self.id, number)?]).await?.pop().flatten();
        Ok(node.map(|node| self.client.handle_of_part(node.message.id, node.message.queue)))
    }
}

impl<O: DeserializeOwned> FlowHandle<O> {
    /// Waits until it has ended and gives what it ends with. Pushed by the backend, not polled.
    ///
    /// # Errors
    /// See [`ResultError`]. Where a task has failed, the failure names it.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn result(&self) -> Result<O, ResultError> {
        self.read(self.end().await?).await
    }

    /// As [`FlowHandle::result`], but gives up after `limit`. The workflow itself goes on.
    ///
    /// # Errors
    /// See [`ResultError`].
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn result_within(&self, limit: Duration) -> Result<O, ResultError> {
        let late = |_| Err(ResultError::Timeout { id: self.id.clone(), waited: limit });
        tokio::time::timeout(limit, self.result()).await.unwrap_or_else(late)
    }

    /// The record of the node that it ends with, and what is known of the whole.
    async fn end(&self) -> Result<(Record, Summary), ResultError> {
        let flows = self.client.flows()?;
        let unknown = || ResultError::Unknown { id: self.id.clone() };
        let summary = flows.summary(&self.id).await?.ok_or_else(unknown)?;
        let end = node_id(&self.id, summary.end as usize)?;
        let waits = async {
            loop {
                if let Some(record) = flows.backend.wait(&end, WAIT).await? {
                    return Ok(record);
                }
            }
        };
        let forgotten = async {
            loop {
                sleep(LOOK).await;
                // An outage is waited for.
                if let Ok(None) = flows.summary(&self.id).await {
                    return unknown();
                }
            }
        };
        tokio::select! {
            biased;
            record = waits => Ok((record.map_err(|error: Error| ResultError::from(error))?, summary)),
            error = forgotten => Err(error),
        }
    }

    async fn read(&self, (record, summary): (Record, Summary)) -> Result<O, ResultError> {
        let id = self.id.clone();
        let text = |failure: Option<Failure>| failure.map(|failure| failure.message);
        match record.state {
            State::Succeeded => {}
            State::Cancelled => return Err(ResultError::Cancelled { id, reason: text(record.failure) }),
            State::Expired => return Err(ResultError::Expired { id }),
            _ => {
                let unsaid = || Failure::new(FailureKind::Error, "why is not known", record.attempt);
                return Err(ResultError::Failed { id, failure: record.failure.clone().unwrap_or_else(unsaid) });
            }
        }
        let bytes = match (summary.group, record.result) {
            (Some(input), _) => self.gathered(Reference { id: record.id, input }).await?,
            (None, Some(result)) => result,
            (None, None) => return Err(ResultError::NotKept { id }),
        };
        Ok(codec::decode("result", &bytes).map_err(|error| error.with_task(id))?)
    }

    async fn gathered(&self, from: Reference) -> Result<Bytes, ResultError> {
        let mut out = Vec::new();
        match self.client.flows()?.collect(from, &mut out).await {
            Ok(()) => Ok(out.into()),
            Err(error) if error.kind() == ErrorKind::Invalid => Err(ResultError::NotKept { id: self.id.clone() }),
            Err(error) => Err(error.into()),
        }
    }
}

impl<O> Clone for FlowHandle<O> {
    fn clone(&self) -> Self {
        Self::new(self.client.clone(), self.id.clone(), self.is_new)
    }
}

impl<O> fmt::Debug for FlowHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
