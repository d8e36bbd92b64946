//! Coalesces concurrent `enqueue` calls into one round trip.
//!
//! A call is sent at once when nothing is under way; what arrives meanwhile forms the next batch.
//! So one caller has the latency of one round trip, and a thousand share it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use windlass_core::limits::BATCH_ITEMS;
use windlass_core::{Broker, Error, ErrorKind, Message, PublishOutcome, Result};

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

/// One answer a message, whatever happens to the call as a whole.
pub(crate) async fn publish(broker: &dyn Broker, messages: &[Message]) -> Vec<Result<PublishOutcome>> {
    match broker.publish(messages).await {
        Ok(outcomes) if outcomes.len() == messages.len() => outcomes.into_iter().map(Ok).collect(),
        Ok(outcomes) => {
            let text = format!("the broker gave {} answers for {} messages", outcomes.len(), messages.len());
            each(messages, &Error::new(ErrorKind::Internal, "enqueue", text))
        }
        Err(error) => each(messages, &error),
    }
}

fn each(messages: &[Message], error: &Error) -> Vec<Result<PublishOutcome>> {
    messages.iter().map(|message| Err(error.duplicate().with_task(message.id.clone()))).collect()
}
