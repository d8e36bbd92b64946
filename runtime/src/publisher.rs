//! Coalesces concurrent `enqueue` calls into one round trip.
//!
//! A call is sent at once when nothing is under way; what arrives meanwhile forms the next batch.
//! So one caller has the latency of one round trip, and a thousand share it.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::{MaybeDone, maybe_done, poll_immediate};
use tokio::sync::{mpsc, oneshot};
use windlass_core::limits::{BATCH_ITEMS, batches};
use windlass_core::{
    Broker, Error, ErrorKind, Message, PublishOutcome, QueueName, Result, Schedule, TaskId, Timestamp,
};

/// Calls that may wait for the batch under way; more callers wait for room.
const WAITING: usize = 10_000;

type Reply = oneshot::Sender<Result<PublishOutcome>>;

#[derive(Debug)]
pub(crate) struct Publisher(mpsc::Sender<(Message, Reply)>);

impl Publisher {
    /// Starts the publisher on the current runtime; it ends with its last handle.
    pub(crate) fn start(broker: Arc<dyn Broker>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(run(broker, receiver));
        Self(sender)
    }

    pub(crate) async fn publish(&self, message: Message) -> Result<PublishOutcome> {
        let (reply, answer) = oneshot::channel();
        let id = message.id.clone();
        self.0.send((message, reply)).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unknown, "enqueue", "the client's runtime ended before the answer").with_task(id))
        })
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "enqueue", "the runtime on which the client was made has ended")
}

async fn run(broker: Arc<dyn Broker>, mut calls: mpsc::Receiver<(Message, Reply)>) {
    let mut batch = Vec::new();
    while calls.recv_many(&mut batch, BATCH_ITEMS).await > 0 {
        let (messages, replies): (Vec<Message>, Vec<Reply>) = batch.drain(..).unzip();
        let outcomes = publish(&*broker, &messages).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // A caller that has gone does not want the answer.
            let _ = reply.send(outcome);
        }
    }
}

/// What is known of a message that is under way.
pub(crate) struct Place {
    pub(crate) id: TaskId,
    pub(crate) queue: QueueName,
    /// Whether the caller chose the id.
    pub(crate) chosen: bool,
    /// When it becomes due, by our own clock.
    pub(crate) due: Timestamp,
}

impl Place {
    pub(crate) fn of(message: &Message) -> Self {
        let due = match message.schedule {
            Schedule::Now => message.enqueued_at,
            Schedule::After(delay) => message.enqueued_at.plus(delay),
            Schedule::At(at) => at,
        };
        Self { id: message.id.clone(), queue: message.queue.clone(), chosen: message.remember.is_some(), due }
    }
}

/// Messages of one call that travel together, and the place of each among what was asked for.
pub(crate) struct Batch {
    pub(crate) places: Vec<Result<Place>>,
    messages: Vec<Message>,
}

impl Batch {
    pub(crate) fn new(checked: impl Iterator<Item = Result<Message>>) -> Self {
        let mut messages = Vec::new();
        let mut keep = |message: Message| {
            let place = Place::of(&message);
            messages.push(message);
            place
        };
        let places = checked.map(|message| message.map(&mut keep)).collect();
        Self { places, messages }
    }

    /// The ids that callers chose.
    pub(crate) fn chosen(&self) -> Vec<TaskId> {
        self.places.iter().flatten().filter(|place| place.chosen).map(|place| place.id.clone()).collect()
    }

    /// Begins to send it: when this returns, it is on its way as far as it can go without waiting.
    pub(crate) async fn send(self, broker: &dyn Broker) -> Sent<'_> {
        let Self { places, messages } = self;
        let mut outcomes =
            Box::pin(maybe_done(Box::pin(async move { publish(broker, &messages).await }) as Outcomes<'_>));
        let _ = poll_immediate(outcomes.as_mut()).await;
        Sent { places, outcomes }
    }
}

type Outcomes<'a> = Pin<Box<dyn Future<Output = Vec<Result<PublishOutcome>>> + Send + 'a>>;

/// A batch on its way.
pub(crate) struct Sent<'a> {
    places: Vec<Result<Place>>,
    outcomes: Pin<Box<MaybeDone<Outcomes<'a>>>>,
}

impl Sent<'_> {
    /// Waits for the broker; one answer a place.
    pub(crate) async fn answers(mut self) -> impl Iterator<Item = Result<(Place, PublishOutcome)>> {
        self.outcomes.as_mut().await;
        let mut outcomes = self.outcomes.as_mut().take_output().unwrap_or_default().into_iter();
        self.places.into_iter().map(move |place| {
            let place = place?;
            let missing = || Err(Error::new(ErrorKind::Internal, "enqueue", "no answer for this message"));
            outcomes.next().unwrap_or_else(missing).map(|outcome| (place, outcome))
        })
    }
}

/// One answer a message, whatever happens to the call as a whole.
async fn publish(broker: &dyn Broker, messages: &[Message]) -> Vec<Result<PublishOutcome>> {
    let mut answers = Vec::with_capacity(messages.len());
    for messages in batches(messages, |message| message.payload.len()) {
        answers.extend(match broker.publish(messages).await {
            Ok(outcomes) if outcomes.len() == messages.len() => outcomes.into_iter().map(Ok).collect(),
            Ok(outcomes) => {
                let text = format!("the broker gave {} answers for {} messages", outcomes.len(), messages.len());
                each(messages, &Error::new(ErrorKind::Internal, "enqueue", text))
            }
            Err(error) => each(messages, &error),
        });
    }
    answers
}

fn each(messages: &[Message], error: &Error) -> Vec<Result<PublishOutcome>> {
    messages.iter().map(|message| Err(error.duplicate().with_task(message.id.clone()))).collect()
}
