//! Claimed ticks become tasks.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::limits::batches;
use windlass_core::periodic::Claim;
use windlass_core::{ErrorKind, Message, PublishOutcome, Result, TaskId, Timestamp};

use super::round::{Desk, Plan};
use super::tasks::limit;
use crate::pause::{in_time, within};

/// A publish is given up after this long, so that it has ended before others take the claim over.
const PUBLISH: Duration = Duration::from_secs(15);
/// What the broker has refused is offered again after this long.
const REFUSED: Duration = Duration::from_secs(30);

impl Desk {
    /// Publishes what was claimed since `begun`, and clears the claims.
    pub(super) async fn publish(&mut self, plans: Vec<Plan>, begun: Instant) -> Result<()> {
        if plans.is_empty() {
            return Ok(());
        }
        let ended = self.ended(&plans).await?;
        let now = self.now();
        // What cannot be published stays claimed.
        let mut left: HashSet<usize> = HashSet::new();
        let mut messages = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            match self.messages(plan, now) {
                Ok(tasks) => {
                    messages
                        .extend(tasks.into_iter().filter(|task| !ended.contains(&task.id)).map(|task| (index, task)));
                }
                Err(error) => {
                    tracing::error!(target: "windlass::periodic", entry = plan.name, %error, "no task can be made of it");
                    left.insert(index);
                    self.agenda.set(&plan.name, plan.version, Some(now.plus(REFUSED)));
                }
            }
        }
        for batch in batches(&messages, |(_, message)| message.payload.len()) {
            let (fresh, old): (Vec<_>, Vec<_>) =
                batch.iter().partition(|(index, _)| self.is_fresh(&plans[*index], begun));
            // What has become old is claimed again first.
            left.extend(old.iter().map(|(index, _)| *index));
            let sent: Vec<Message> = fresh.iter().map(|(_, message)| message.clone()).collect();
            for ((index, message), outcome) in fresh.into_iter().zip(self.send(&sent).await?) {
                let plan = &plans[*index];
                if !report(&plan.name, message, &outcome) {
                    left.insert(*index);
                    self.agenda.set(&plan.name, plan.version, Some(now.plus(REFUSED)));
                }
            }
        }
        let done = plans.into_iter().enumerate().filter(|(index, _)| !left.contains(index)).map(|(_, plan)| plan);
        self.clear(done.collect()).await
    }

    /// Whether a claim is young enough by both clocks: one of them stands still while a machine sleeps,
    /// the other one can be set.
    fn is_fresh(&self, plan: &Plan, begun: Instant) -> bool {
        let age = plan.entry.claim.as_ref().map(|claim| self.now().since(claim.at));
        begun.elapsed() < Claim::FRESH && age.is_some_and(|age| age < Claim::FRESH)
    }

    /// One answer a message. A message for which the broker refuses the whole call takes no other with it.
    async fn send(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let broker = self.client.broker();
        let refused = match within(PUBLISH, "periodic", broker.publish(messages)).await {
            Err(error) if !error.is_retryable() && error.kind() != ErrorKind::Closed => error,
            answer => return answer,
        };
        if let [_] = messages {
            return Ok(vec![PublishOutcome::Rejected(refused)]);
        }
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            let alone = within(PUBLISH, "periodic", broker.publish(std::slice::from_ref(message))).await;
            outcomes.extend(match alone {
                Err(error) if !error.is_retryable() && error.kind() != ErrorKind::Closed => {
                    vec![PublishOutcome::Rejected(error)]
                }
                answer => answer?,
            });
        }
        Ok(outcomes)
    }

    /// The tasks of claims that somebody may have published before and that have ended since.
    async fn ended(&self, plans: &[Plan]) -> Result<HashSet<TaskId>> {
        let mut ids = Vec::new();
        for plan in plans.iter().filter(|plan| plan.again) {
            ids.extend(self.messages(plan, Timestamp::default()).into_iter().flatten().map(|message| message.id));
        }
        let (false, Some(backend)) = (ids.is_empty(), self.client.backend()) else { return Ok(HashSet::new()) };
        let records = in_time("periodic", backend.load(&ids)).await?.into_iter().flatten();
        Ok(records.filter(|record| record.state.is_final()).map(|record| record.id).collect())
    }

    fn messages(&self, plan: &Plan, now: Timestamp) -> Result<Vec<Message>> {
        let Some(claim) = &plan.entry.claim else { return Ok(Vec::new()) };
        let limit = limit(&self.client, &claim.queue)?;
        let task = |tick: &Timestamp| {
            let message = plan.entry.task_of(&plan.name, *tick, &claim.queue, now)?;
            Ok(Message { limit, ..message })
        };
        claim.ticks.iter().map(task).collect()
    }
}

/// Whether the broker has the task now.
fn report(name: &str, message: &Message, outcome: &PublishOutcome) -> bool {
    let Message { id, queue, .. } = message;
    match outcome {
        PublishOutcome::Accepted => {
            tracing::debug!(target: "windlass::periodic", entry = name, task_id = %id, %queue, "tick");
        }
        PublishOutcome::Duplicate => {
            tracing::debug!(target: "windlass::periodic", entry = name, task_id = %id, %queue, "tick was there already");
        }
        PublishOutcome::Full { waiting } => {
            tracing::warn!(target: "windlass::periodic", entry = name, task_id = %id, %queue, waiting, "the queue is full; the tick is offered again");
            return false;
        }
        PublishOutcome::Rejected(error) => {
            tracing::error!(target: "windlass::periodic", entry = name, task_id = %id, %queue, %error, "the broker refuses the tick; it is offered again");
            return false;
        }
    }
    true
}
