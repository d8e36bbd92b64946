use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{Delivery, Error, ErrorKind, Message, PublishOutcome, QueueName, Result, Schedule, State, TaskId};

use super::drain::{Fate, Sink, drain};
use crate::client::Client;
use crate::pause::in_time;

pub(super) async fn run(client: &Client, from: &QueueName, to: &QueueName) -> Result<usize> {
    let moved = drain(client, from, Move { client: client.clone(), to: to.clone() }).await?;
    tracing::info!(target: "windlass::client", %from, %to, moved, "tasks moved");
    Ok(moved)
}

struct Move {
    client: Client,
    to: QueueName,
}

#[async_trait]
impl Sink for Move {
    /// Publishes them to the other queue; what that has accepted can be removed. What has ended already is
    /// left to a worker.
    async fn take(&self, batch: &[(Delivery, Message)]) -> Result<Vec<Fate>> {
        let ended = self.ended(batch).await?;
        let waits = |message: &Message| !ended.contains(&message.id);
        let copies: Vec<Message> =
            batch.iter().filter(|(_, message)| waits(message)).map(|(_, message)| self.copy(message)).collect();
        let mut outcomes = in_time("publish", self.client.broker().publish(&copies)).await?.into_iter();
        let fate = |(_, message): &(Delivery, Message)| match waits(message) {
            true => outcomes.next().map_or(Fate::Left, |outcome| fate(message, outcome)),
            false => Fate::Left,
        };
        Ok(batch.iter().map(fate).collect())
    }

    /// The id can come back, by a move in the other direction.
    fn remember(&self, _: &Message) -> Option<Duration> {
        None
    }
}

impl Move {
    /// Those that a lost worker had in hand and ended. One that has failed may have been put back since.
    async fn ended(&self, batch: &[(Delivery, Message)]) -> Result<HashSet<TaskId>> {
        let lost = batch.iter().filter(|(delivery, _)| delivery.progress.losses > 0);
        let ids: Vec<TaskId> = lost.map(|(_, message)| message.id.clone()).collect();
        let (Some(backend), [_, ..]) = (self.client.backend(), &*ids) else { return Ok(HashSet::new()) };
        let stored = in_time("load", backend.load(&ids)).await?.into_iter().flatten();
        let ended = stored.filter(|record| record.state.is_final() && record.state != State::Failed);
        Ok(ended.map(|record| record.id).collect())
    }

    fn copy(&self, message: &Message) -> Message {
        // A store that does not refuse ids would take the record of the task itself for another one.
        let refuses = self.client.broker().capabilities().idempotent;
        let remember = message.remember.filter(|_| refuses);
        Message { queue: self.to.clone(), schedule: Schedule::Now, limit: None, remember, ..message.clone() }
    }
}

fn fate(message: &Message, outcome: PublishOutcome) -> Fate {
    match outcome {
        PublishOutcome::Accepted => Fate::Done(State::Queued),
        // An id that windlass made stands for one task: an earlier move was cut short after it had
        // published this one.
        PublishOutcome::Duplicate if message.remember.is_none() => Fate::Done(State::Queued),
        PublishOutcome::Duplicate => Fate::Left,
        PublishOutcome::Rejected(error) => Fate::Failed(error),
        PublishOutcome::Full { waiting } => {
            Fate::Failed(Error::new(ErrorKind::Full, "move", format!("the other queue is full: {waiting} tasks wait")))
        }
    }
}
