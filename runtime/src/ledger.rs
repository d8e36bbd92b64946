//! Makes up for what a broker alone cannot do, by what the backend knows.
//!
//! A broker that hands out messages by connection (such as RabbitMQ) cannot find a message that
//! waits: it can neither remove it nor refuse a second one of the same id. The records of the
//! backend can stand in, because a record that has ended says that its message must not run (again).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Backend, Broker, CancelOutcome, Capabilities, Clock, DeadPage, Delivery, Disposition, FetchRequest, LeaseStatus,
    Location, Message, PublishOutcome, QueueName, Receipt, Record, Replay, Result, Retention, SettleOutcome,
    Settlement, State, TaskId, Token,
};

use crate::cancel;

/// How long it is known that a task was cancelled, once its message has gone; and that a task with
/// an id of the caller's waits.
const DAY: Duration = Duration::from_secs(86_400);

/// A broker whose gaps are filled by a backend.
#[derive(Debug)]
struct Ledger {
    broker: Arc<dyn Broker>,
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
}

/// `broker`, with its gaps filled where it has some and there is a backend. Its capabilities stay
/// those of the store.
pub(crate) fn over(
    broker: Arc<dyn Broker>,
    backend: Option<&Arc<dyn Backend>>,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn Broker> {
    let capabilities = broker.capabilities();
    match backend {
        Some(backend) if !(capabilities.cancel && capabilities.idempotent) => {
            Arc::new(Ledger { broker, backend: Arc::clone(backend), clock: Arc::clone(clock) })
        }
        _ => broker,
    }
}

impl Ledger {
    /// What is known of these tasks.
    async fn stored<'a>(&self, ids: impl Iterator<Item = &'a TaskId>) -> Result<HashMap<TaskId, Record>> {
        let ids: Vec<TaskId> = ids.cloned().collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let records = self.backend.load(&ids).await?.into_iter().flatten();
        Ok(records.map(|record| (record.id.clone(), record)).collect())
    }

    fn record(&self, id: &TaskId, state: State, token: Token, attempt: u32, kept: Duration) -> Record {
        let ttl = Retention::For(kept);
        Record {
            id: id.clone(),
            token,
            state,
            attempt,
            at: self.clock.now(),
            result: None,
            failure: None,
            status_ttl: ttl,
            result_ttl: ttl,
        }
    }

    /// Notes ids of callers that were accepted, so that the next publish finds them taken.
    async fn note(&self, ids: &[TaskId]) {
        let queued: Vec<Record> =
            ids.iter().map(|id| self.record(id, State::Queued, Token::default(), 0, DAY)).collect();
        if !queued.is_empty()
            && let Err(error) = self.backend.save(&queued).await
        {
            tracing::warn!(target: "windlass::client", %error, "until it has run, an id may be taken for free");
        }
    }

    /// Parts what must not run (again) from what shall run. A failed task is among the second: it
    /// was put back from the dead letters.
    async fn screen(&self, deliveries: Vec<Delivery>) -> Result<(Vec<(Delivery, Record)>, Vec<Delivery>)> {
        let mut stored = match self.stored(deliveries.iter().map(|delivery| &delivery.receipt.id)).await {
            Ok(stored) => stored,
            Err(error) => {
                let release = |delivery: &Delivery| settlement(delivery, Disposition::Release, State::Queued);
                let released: Vec<Settlement> = deliveries.iter().map(release).collect();
                // If this fails too, they are delivered again when the connection has ended.
                let _ = self.broker.settle(&released).await;
                return Err(error);
            }
        };
        stored.retain(|_, record| record.state.is_final());
        self.cancel_replayed(&deliveries, &mut stored).await;
        stored.retain(|_, record| record.state != State::Failed);
        let mut ended = Vec::new();
        let mut alive = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            // What follows from the end of a part of a workflow, or from one that a lost worker had in hand,
            // is the worker's, who learns of the end too.
            let is_part = delivery.content.as_ref().is_ok_and(|message| message.flow.is_some());
            let is_followed = is_part || delivery.progress.losses > 0;
            match stored.get(&delivery.receipt.id).filter(|_| !is_followed) {
                Some(record) => ended.push((delivery, record.clone())),
                None => alive.push(delivery),
            }
        }
        Ok((ended, alive))
    }

    /// What has failed and was put back may have been cancelled since; its record could not say so.
    async fn cancel_replayed(&self, deliveries: &[Delivery], stored: &mut HashMap<TaskId, Record>) {
        let is_back = |id: &TaskId| stored.get(id).is_some_and(|record| record.state == State::Failed);
        let receipts: Vec<&Receipt> = deliveries.iter().map(|it| &it.receipt).filter(|it| is_back(&it.id)).collect();
        let (Some(notebook), [_, ..]) = (self.backend.notebook(), &*receipts) else { return };
        let ids: Vec<TaskId> = receipts.iter().map(|receipt| receipt.id.clone()).collect();
        let Ok(requests) = cancel::requests(notebook, &ids).await else { return };
        for (receipt, request) in receipts.into_iter().zip(requests) {
            let Some(request) = request else { continue };
            let failure = Some(cancel::failure(request.reason.as_deref(), 0));
            let record = Record { failure, ..self.record(&receipt.id, State::Cancelled, receipt.token, 0, DAY) };
            if self.backend.save(std::slice::from_ref(&record)).await.is_ok() {
                cancel::withdraw(notebook, std::slice::from_ref(&receipt.id)).await;
                stored.insert(receipt.id.clone(), record);
            }
        }
    }

    /// Removes messages of tasks that have ended.
    async fn remove(&self, ended: Vec<(Delivery, Record)>) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        let remove: Vec<Settlement> = ended
            .iter()
            .map(|(delivery, record)| {
                let (task_id, state) = (&delivery.receipt.id, record.state);
                tracing::info!(target: "windlass::worker", %task_id, "not run: it is {state} already");
                settlement(delivery, Disposition::Acknowledge, state)
            })
            .collect();
        self.broker.settle(&remove).await?;
        let cancelled = ended.into_iter().map(|(_, record)| record).filter(|record| record.state == State::Cancelled);
        let kept = Retention::For(DAY);
        let shortened: Vec<Record> =
            cancelled.map(|record| Record { status_ttl: kept, result_ttl: kept, ..record }).collect();
        if !shortened.is_empty() {
            self.backend.save(&shortened).await?;
        }
        Ok(())
    }
}

/// Whether a record says that there is a task of the id of a message. A part of a workflow can be said to have
/// failed before there is any message of it.
fn stands(record: &Record, message: &Message) -> bool {
    message.flow.is_none() || record.state != State::Failed || record.token != Token::default()
}

/// What becomes of a message that is to be published.
enum Fate {
    Sent,
    /// There is a task of that id.
    Taken,
    /// It has the id of another one of this call: that which is sent in this place.
    AsFor(usize),
}

impl Fate {
    fn without_sending(&self, outcomes: &[PublishOutcome]) -> Option<PublishOutcome> {
        match self {
            Self::Sent => None,
            Self::Taken => Some(PublishOutcome::Duplicate),
            Self::AsFor(place) => Some(match outcomes.get(*place) {
                Some(PublishOutcome::Rejected(error)) => PublishOutcome::Rejected(error.duplicate()),
                Some(PublishOutcome::Full { waiting }) => PublishOutcome::Full { waiting: *waiting },
                _ => PublishOutcome::Duplicate,
            }),
        }
    }
}

fn settlement(delivery: &Delivery, disposition: Disposition, state: State) -> Settlement {
    let Delivery { receipt, progress, .. } = delivery;
    Settlement { receipt: receipt.clone(), disposition, progress: *progress, state, remember: None, reason: None }
}

#[async_trait]
impl Broker for Ledger {
    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }

    /// Ids that the caller chose are taken while the backend has a record of them.
    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        let chosen = || messages.iter().filter(|message| message.remember.is_some()).map(|message| &message.id);
        if self.broker.capabilities().idempotent || chosen().next().is_none() {
            return self.broker.publish(messages).await;
        }
        let taken = self.stored(chosen()).await?;
        let (mut sent, mut places) = (Vec::with_capacity(messages.len()), HashMap::new());
        let mut plan = Vec::with_capacity(messages.len());
        for message in messages {
            let first = places.get(&message.id).copied();
            plan.push(match first {
                _ if message.remember.is_none() => Fate::Sent,
                _ if taken.get(&message.id).is_some_and(|record| stands(record, message)) => Fate::Taken,
                Some(place) => Fate::AsFor(place),
                None => {
                    places.insert(&message.id, sent.len());
                    Fate::Sent
                }
            });
            if let Some(Fate::Sent) = plan.last() {
                sent.push(message.clone());
            }
        }
        let outcomes = self.broker.publish(&sent).await?;
        let accepted = sent.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_accepted());
        let chosen = accepted.filter(|(message, _)| message.remember.is_some()).map(|(message, _)| message.id.clone());
        self.note(&chosen.collect::<Vec<_>>()).await;
        let repeated: Vec<Option<PublishOutcome>> = plan.iter().map(|fate| fate.without_sending(&outcomes)).collect();
        let mut answers = outcomes.into_iter();
        Ok(repeated.into_iter().filter_map(|repeated| repeated.or_else(|| answers.next())).collect())
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        self.broker.ready(queue, wait).await
    }

    /// Leaves out what has ended already: cancelled while it waited, or delivered a second time.
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        let deliveries = self.broker.fetch(request).await?;
        let (ended, alive) = self.screen(deliveries).await?;
        if let Err(error) = self.remove(ended).await {
            tracing::warn!(target: "windlass::worker", %error, "tasks that have ended are not removed yet");
        }
        Ok(alive)
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        self.broker.extend(receipts, lease).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        self.broker.settle(settlements).await
    }

    /// Notes that the task is cancelled: what waits is not run when its turn comes, and of what runs
    /// the result is refused.
    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        if self.broker.capabilities().cancel {
            return self.broker.cancel(queue, id).await;
        }
        let done = cancel::by_record(&self.backend, self.clock.now(), id, None).await?;
        Ok(done.outcome)
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        self.broker.locate(queue, id).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.broker.dead_letters(queue, cursor, max).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        self.broker.replay(queue, letters).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.broker.discard(queue, ids).await
    }

    fn risks(&self) -> Vec<String> {
        self.broker.risks()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}
