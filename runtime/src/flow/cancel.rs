use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use windlass_core::flow::{FlowNode, Role, Summary, node_id};
use windlass_core::limits::BATCH_ITEMS;
use windlass_core::{
    CancelOutcome, Failure, FailureKind, QueueName, Record, Result, SaveOutcome, State, TaskId, Token,
};

use super::{Ended, Flows};
use crate::cancel;

/// Calls to the broker that are under way at the same time.
const UNDER_WAY: usize = 32;

impl Flows<'_> {
    /// Cancels every node that has not ended, the last first: what is cut off in the middle goes on as
    /// far as it can, and nothing waits for what will not come. Answers how many tasks that are.
    pub(super) async fn cancel_all(&self, flow: &TaskId, summary: &Summary, reason: &str) -> Result<usize> {
        let keep = Duration::from_millis(summary.keep);
        let mut cancelled = 0;
        let numbers: Vec<usize> = (0..summary.nodes as usize).rev().collect();
        for numbers in numbers.chunks(BATCH_ITEMS) {
            let ids: Vec<TaskId> = numbers.iter().map(|number| node_id(flow, *number)).collect::<Result<_>>()?;
            let (ended, running) = self.end(&ids, keep, reason).await?;
            let nodes = self.nodes(&ended).await?.into_iter().flatten();
            let tasks: Vec<(TaskId, QueueName)> = nodes
                .filter(|node| node.role != Role::Gather)
                .map(|FlowNode { message, .. }| (message.id, message.queue))
                .collect();
            cancelled += tasks.len();
            self.remove(tasks).await?;
            cancel::ask(self.notebook, self.clock.now(), &running, Some(reason)).await?;
        }
        Ok(cancelled)
    }

    /// Records of those that have not ended that they are cancelled; answers which, and which of them run:
    /// they are asked to end, their results are refused anyway.
    async fn end(&self, ids: &[TaskId], keep: Duration, reason: &str) -> Result<(Vec<TaskId>, Vec<TaskId>)> {
        let failure = Failure::new(FailureKind::Cancelled, reason, 0);
        let stored = self.records(ids).await?;
        let running = stored.iter().flatten().filter(|stored| stored.state == State::Running);
        let running: Vec<TaskId> = running.map(|stored| stored.id.clone()).collect();
        let record = |(id, stored): (&TaskId, Option<Record>)| {
            let (token, attempt) = match stored {
                Some(stored) if stored.state.is_final() => return None,
                Some(stored) => (stored.token, stored.attempt),
                None => (Token::default(), 0),
            };
            let record = self.record(id, token, State::Cancelled, Some(failure.clone()), keep);
            Some(Record { attempt, ..record })
        };
        let records: Vec<Record> = ids.iter().zip(stored).filter_map(record).collect();
        let saved = self.save(&records).await?.into_iter();
        let ended = records.into_iter().zip(saved).filter(|(_, outcome)| *outcome == SaveOutcome::Saved);
        Ok((ended.map(|(record, _)| record.id).collect(), running))
    }

    /// Takes messages out of the broker. Where that cannot be done, the records say to workers what not to
    /// run.
    async fn remove(&self, tasks: Vec<(TaskId, QueueName)>) -> Result<()> {
        if !self.broker.capabilities().cancel {
            return Ok(());
        }
        let remove = |(id, queue): (TaskId, QueueName)| async move { self.broker.cancel(&queue, &id).await };
        let outcomes: Vec<Result<CancelOutcome>> =
            stream::iter(tasks).map(remove).buffer_unordered(UNDER_WAY).collect().await;
        outcomes.into_iter().collect::<Result<Vec<_>>>().map(drop)
    }

    /// How long the workflow is kept that a task is part of, if it is.
    pub(crate) async fn kept_with(&self, id: &TaskId) -> Result<Option<Duration>> {
        let node = self.nodes(std::slice::from_ref(id)).await?.pop().flatten();
        Ok(node.as_ref().and_then(FlowNode::part).map(|part| part.keep))
    }

    /// Sees to what follows from a task that was ended from outside, if it is part of a workflow. Its
    /// record says so already.
    pub(crate) async fn stopped(&self, id: &TaskId, failure: Option<Failure>) -> Result<()> {
        let Some(node) = self.nodes(std::slice::from_ref(id)).await?.pop().flatten() else { return Ok(()) };
        let message = node.message;
        let Some(part) = message.flow else { return Ok(()) };
        let ended =
            Ended { id: id.clone(), task: message.task, state: State::Cancelled, part: *part, result: None, failure };
        self.advance([ended]).await
    }
}
