//! Handing a batch to the broker, and finding out which of its messages the broker does not want.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use windlass_core::{Broker, Error, ErrorKind, Message, PublishOutcome, Result};

use super::row::{Refusal, Row};

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// In the broker, now or before.
    pub(super) done: Vec<i64>,
    /// Those of them that the broker had already.
    pub(super) duplicates: u64,
    /// Not in the broker, and not because of an outage.
    pub(super) refused: Vec<Refusal>,
    /// Not decided, because the broker is away.
    pub(super) left: Vec<Row>,
    /// Why.
    pub(super) outage: Option<Error>,
}

/// Publishes `rows`, which were claimed at `claimed`, in their order; a call that is not answered
/// within `limit` is given up.
///
/// A broker may refuse a call as a whole because of one message. The batch is then split until the
/// message stands alone, so that it holds up nobody.
pub(super) async fn publish(broker: &dyn Broker, rows: Vec<Row>, claimed: Instant, limit: Duration) -> Published {
    let mut published = Published::default();
    let mut groups = VecDeque::from([rows]);
    while let Some(group) = groups.pop_front() {
        let messages: Vec<Message> = group.iter().map(|row| row.message(claimed.elapsed())).collect();
        match call(broker, &messages, limit).await {
            Ok(outcomes) => published.take(&group, outcomes),
            Err(error) if is_outage(&error) => {
                published.left = group.into_iter().chain(groups.into_iter().flatten()).collect();
                published.outage = Some(error);
                break;
            }
            Err(error) => match split(group, &error) {
                Ok(parts) => parts.into_iter().rev().for_each(|part| groups.push_front(part)),
                Err(group) => {
                    published.refused.extend(group.iter().map(|row| Refusal::new(row.seq, &error)));
                }
            },
        }
    }
    published
}

impl Published {
    fn take(&mut self, group: &[Row], outcomes: Vec<PublishOutcome>) {
        for (row, outcome) in group.iter().zip(outcomes) {
            match outcome {
                PublishOutcome::Accepted => self.done.push(row.seq),
                PublishOutcome::Duplicate => {
                    self.duplicates += 1;
                    self.done.push(row.seq);
                }
                PublishOutcome::Full { waiting } => {
                    self.refused.push(Refusal::new(row.seq, format_args!("its queue is full: {waiting} tasks wait")));
                }
                PublishOutcome::Rejected(error) => self.refused.push(Refusal::new(row.seq, error)),
            }
        }
    }
}

async fn call(broker: &dyn Broker, messages: &[Message], limit: Duration) -> Result<Vec<PublishOutcome>> {
    let silent = |_| Err(Error::new(ErrorKind::Unknown, "publish", format!("no answer within {limit:?}")));
    let outcomes = timeout(limit, broker.publish(messages)).await.unwrap_or_else(silent)?;
    if outcomes.len() == messages.len() {
        return Ok(outcomes);
    }
    let text = format!("{} messages were published and {} answers came", messages.len(), outcomes.len());
    Err(Error::new(ErrorKind::Internal, "publish", text).retryable(true))
}

/// Whether the same call may succeed later with nothing changed in it.
fn is_outage(error: &Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::Closed
}

/// Smaller groups in the same order; or the group itself if no part of it would fare better.
fn split(mut group: Vec<Row>, error: &Error) -> Result<Vec<Vec<Row>>, Vec<Row>> {
    if group.len() == 1 {
        return Err(group);
    }
    // The adapter may say which one it is.
    let named = error.task_id().and_then(|id| group.iter().position(|row| &row.message.id == id));
    if let Some(place) = named {
        let after = group.split_off(place + 1);
        let alone = group.split_off(place);
        return Ok([group, alone, after].into_iter().filter(|part| !part.is_empty()).collect());
    }
    let queues = by_queue(group);
    if queues.len() > 1 {
        return Ok(queues);
    }
    let mut group = queues.into_iter().flatten().collect::<Vec<_>>();
    let about_a_message = [ErrorKind::Invalid, ErrorKind::Codec, ErrorKind::Rejected, ErrorKind::Unsupported];
    if !about_a_message.contains(&error.kind()) {
        return Err(group);
    }
    let half = group.split_off(group.len() / 2);
    Ok(vec![group, half])
}

fn by_queue(group: Vec<Row>) -> Vec<Vec<Row>> {
    let mut queues: Vec<Vec<Row>> = Vec::new();
    for row in group {
        match queues.iter_mut().find(|queue| queue[0].message.queue == row.message.queue) {
            Some(queue) => queue.push(row),
            None => queues.push(vec![row]),
        }
    }
    queues
}
