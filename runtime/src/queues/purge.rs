use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Delivery, Event, ExecutionPolicy, Failure, FailureKind, Message, QueueName, Record, Result, Retention, SaveOutcome,
    Snapshot, State, TaskId, transition,
};

use super::drain::{Fate, Sink, drain};
use crate::cancel;
use crate::client::Client;
use crate::pause::in_time;

/// What who waits for a purged task is told.
const REASON: &str = "purged";

pub(super) async fn run(client: &Client, queue: &QueueName) -> Result<usize> {
    let purged = drain(client, queue, Purge { client: client.clone() }).await?;
    tracing::info!(target: "windlass::client", %queue, purged, "queue purged");
    Ok(purged)
}

struct Purge {
    client: Client,
}

#[async_trait]
impl Sink for Purge {
    /// Records that they are cancelled, before they are removed.
    async fn take(&self, batch: &[(Delivery, Message)]) -> Result<Vec<Fate>> {
        let ended = self.save(batch).await?;
        let mut fates = Vec::with_capacity(batch.len());
        for (_, message) in batch {
            fates.push(match ended.contains(&message.id) {
                true => Fate::Left,
                false => self.end(message).await.map_or_else(Fate::Failed, |()| Fate::Done(State::Cancelled)),
            });
        }
        Ok(fates)
    }

    /// As that of a task that was cancelled while it waited: the id can be used anew.
    fn remember(&self, _: &Message) -> Option<Duration> {
        None
    }
}

/// Its attempt is 0: nobody ran it when it was cancelled.
fn failure() -> Failure {
    Failure::new(FailureKind::Cancelled, REASON, 0)
}

impl Purge {
    /// Saves that they are cancelled; answers which have ended otherwise, of which a worker knows how.
    async fn save(&self, batch: &[(Delivery, Message)]) -> Result<HashSet<TaskId>> {
        let Some(backend) = self.client.backend() else { return Ok(HashSet::new()) };
        let records: Vec<Record> = batch.iter().map(|(delivery, message)| self.record(delivery, message)).collect();
        let outcomes = in_time("save", backend.save(&records)).await?;
        let refused = records.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome == SaveOutcome::Refused);
        let refused: Vec<TaskId> = refused.map(|(record, _)| record.id).collect();
        if refused.is_empty() {
            return Ok(HashSet::new());
        }
        let stored = in_time("load", backend.load(&refused)).await?;
        // A purge that was cut short has said so before.
        let otherwise = |stored: &Option<Record>| !stored.as_ref().is_some_and(cancel::is_request);
        Ok(refused.into_iter().zip(stored).filter(|(_, stored)| otherwise(stored)).map(|(id, _)| id).collect())
    }

    /// Sees to what follows in its workflow, if it is part of one.
    async fn end(&self, message: &Message) -> Result<()> {
        match message.flow {
            Some(_) => in_time("purge", self.client.flows()?.stopped(&message.id, Some(failure()))).await,
            None => Ok(()),
        }
    }

    fn record(&self, delivery: &Delivery, message: &Message) -> Record {
        let policy = ExecutionPolicy::default().with(&self.client.settings().defaults, message.enqueued_at);
        let policy = policy.with(&message.options, message.enqueued_at);
        let now = self.client.clock().now();
        let snapshot = Snapshot { state: State::Queued, progress: delivery.progress };
        let cancelled = transition(snapshot, Event::Cancelled, &policy, now, 0.0);
        // Of a part of a workflow it must be known for as long as of the workflow.
        let kept = message.flow.as_ref().map_or(Retention::None, |part| Retention::For(part.keep));
        Record {
            id: message.id.clone(),
            token: delivery.receipt.token,
            state: cancelled.map_or(State::Cancelled, |cancelled| cancelled.next.state),
            attempt: delivery.progress.attempt() - 1,
            at: now,
            result: None,
            failure: Some(failure()),
            status_ttl: policy.status_ttl.max(kept),
            result_ttl: policy.result_ttl,
        }
    }
}
