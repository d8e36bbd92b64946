//! Takes what waits in a queue, batch by batch, as a worker would, and gives it to somebody.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use windlass_core::{
    Broker, Delivery, Disposition, Error, ErrorKind, FetchRequest, Message, Priority, QueueName, Reserve, Result,
    Settlement, State, TaskId, Timestamp,
};

use crate::client::Client;
use crate::pause::in_time;

/// Most messages in one batch.
const BATCH: usize = 500;
/// How long the claims of a batch last: longer than its calls may take.
const LEASE: Duration = Duration::from_secs(120);
/// How long a queue must have nothing to be taken for empty. Some stores send what they have only
/// after they were asked for the first time.
const QUIET: Duration = Duration::from_millis(500);
/// To the end of the queue, due at once.
const BEHIND: Disposition = Disposition::Requeue { after: Duration::ZERO };

/// What becomes of one message.
pub(super) enum Fate {
    /// It is dealt with and removed; its task is in this state now.
    Done(State),
    /// It stays, behind the others.
    Left,
    /// It stays where it is, and this is why.
    Failed(Error),
}

/// What is done with the messages.
#[async_trait]
pub(super) trait Sink: Send + Sync + 'static {
    /// Deals with a batch; what becomes of each, in their order. If it fails, all stay where they are.
    async fn take(&self, batch: &[(Delivery, Message)]) -> Result<Vec<Fate>>;

    /// How long the queue remembers the id of a message that is done.
    fn remember(&self, message: &Message) -> Option<Duration>;
}

/// Gives what waits in the queue at this time to `sink`; answers how many it has dealt with.
///
/// Works on a task of its own, so that a batch is never left half done.
pub(super) async fn drain<S: Sink>(client: &Client, queue: &QueueName, sink: S) -> Result<usize> {
    let stop = CancellationToken::new();
    let _dropped = stop.clone().drop_guard();
    let (broker, queue, start) = (Arc::clone(client.broker()), queue.clone(), client.clock().now());
    let work = tokio::spawn(async move {
        let mut drain = Drain { broker, queue, start, sink, left: HashSet::new(), done: 0 };
        while !stop.is_cancelled() && drain.step().await? {}
        Ok(drain.done)
    });
    work.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "queue", "a store panicked")))
}

struct Drain<S> {
    broker: Arc<dyn Broker>,
    queue: QueueName,
    start: Timestamp,
    sink: S,
    /// What stays although it was there at the start, so that it is known when it comes again.
    left: HashSet<TaskId>,
    done: usize,
}

impl<S: Sink> Drain<S> {
    /// One batch; whether something may be left that was there at the start.
    async fn step(&mut self) -> Result<bool> {
        let (mut batch, mut settlements, mut news) = (Vec::new(), Vec::new(), false);
        for delivery in self.fetch().await? {
            match &delivery.content {
                Ok(message) if message.enqueued_at > self.start => {
                    settlements.push(settlement(&delivery, Disposition::Release, State::Queued, None));
                }
                Ok(message) if !self.left.contains(&message.id) => {
                    let message = message.clone();
                    batch.push((delivery, message));
                }
                // At the end of the queue it does not come again before the others.
                _ => {
                    news |= self.left.insert(delivery.receipt.id.clone());
                    settlements.push(settlement(&delivery, BEHIND, State::Queued, None));
                }
            }
        }
        news |= !batch.is_empty();
        let failed = self.take(batch, &mut settlements).await;
        if !settlements.is_empty() {
            in_time("settle", self.broker.settle(&settlements)).await?;
        }
        failed.map_or(Ok(news), Err)
    }

    /// Lets the sink deal with a batch, and adds what becomes of it; answers the first failure.
    async fn take(&mut self, batch: Vec<(Delivery, Message)>, settlements: &mut Vec<Settlement>) -> Option<Error> {
        if batch.is_empty() {
            return None;
        }
        let (fates, mut failed) = match self.sink.take(&batch).await {
            Ok(fates) => (fates, None),
            Err(error) => (batch.iter().map(|_| Fate::Failed(error.duplicate())).collect(), Some(error)),
        };
        for ((delivery, message), fate) in batch.iter().zip(fates) {
            settlements.push(match fate {
                Fate::Done(state) => {
                    self.done += 1;
                    settlement(delivery, Disposition::Acknowledge, state, self.sink.remember(message))
                }
                Fate::Left => {
                    self.left.insert(message.id.clone());
                    settlement(delivery, BEHIND, State::Queued, None)
                }
                Fate::Failed(error) => {
                    failed = failed.or(Some(error));
                    settlement(delivery, Disposition::Release, State::Queued, None)
                }
            });
        }
        failed
    }

    /// Some of what waits, of each level, so that no stream of urgent tasks hides what is less urgent.
    async fn fetch(&self) -> Result<Vec<Delivery>> {
        let kept = |reserve: Reserve, level| reserve.with(level, BATCH / Priority::ALL.len());
        let reserve = Priority::ALL.into_iter().fold(Reserve::NONE, kept);
        let request = FetchRequest { reserve, ..FetchRequest::new(self.queue.clone(), BATCH, LEASE) };
        let deliveries = in_time("fetch", self.broker.fetch(&request)).await?;
        if !deliveries.is_empty() {
            return Ok(deliveries);
        }
        in_time("ready", self.broker.ready(&self.queue, QUIET)).await?;
        in_time("fetch", self.broker.fetch(&request)).await
    }
}

fn settlement(delivery: &Delivery, disposition: Disposition, state: State, remember: Option<Duration>) -> Settlement {
    let Delivery { receipt, progress, .. } = delivery;
    Settlement { receipt: receipt.clone(), disposition, progress: *progress, state, remember, reason: None }
}
