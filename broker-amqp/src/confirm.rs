//! One attempt to publish over one channel: all messages at once, then what the server says of each.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use tokio::time::{Instant, timeout_at};
use windlass_core::{Error, ErrorKind};

use crate::connection::{Link, Live};
use crate::error::{CONTENT_TOO_LARGE, PRECONDITION_FAILED, code, failed};
use crate::level::Names;
use crate::route::{Outgoing, Target};

pub(crate) const BLOCKED_TEXT: &str = "broker blocked: low on memory or disk";

/// What one attempt has told about one message.
#[derive(Debug)]
pub(crate) enum Fate {
    Confirmed,
    Unroutable,
    Refused,
    /// The server has closed the channel over this message, or over another of the batch.
    TooLarge(Error),
    /// It may or may not be there.
    Lost(Error),
}

/// One attempt, on a channel that nobody else uses meanwhile.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) link: &'a Link,
    pub(crate) live: &'a Live,
    pub(crate) channel: &'a Channel,
    pub(crate) names: &'a Names,
    /// How long the server may say nothing.
    pub(crate) silence: Duration,
    pub(crate) deadline: Instant,
}

type Sending<'a> = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send + 'a>>;
type Answer = Option<lapin::Result<Confirmation>>;

impl Attempt<'_> {
    /// Sends all, then waits for all confirms. `false` if some did not come, so that the channel must
    /// not be used again.
    pub(crate) async fn run(&self, batch: &[&Outgoing]) -> (Vec<Fate>, bool) {
        let mut answers = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        let mut last: Option<(&Target, (ShortString, ShortString))> = None;
        for item in batch {
            let route = match last.take().filter(|(target, _)| *target == &item.target) {
                Some((_, route)) => route,
                None => item.target.route(self.names),
            };
            let mut sending = self.publish(item, route.clone());
            last = Some((&item.target, route));
            // The first poll puts the frames into the driver's queue, so they leave in this order.
            let answer = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
            answers.push(match answer {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            });
            waiting.push(sending);
        }
        let is_whole = self.wait(&mut answers, &mut waiting).await;
        (self.fates(batch, answers), is_whole)
    }

    fn publish<'a>(&'a self, item: &'a Outgoing, (exchange, key): (ShortString, ShortString)) -> Sending<'a> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (channel, properties) = (self.channel, item.properties.clone());
        Box::pin(async move { channel.basic_publish(exchange, key, options, &item.bytes, properties).await?.await })
    }

    /// Waits as long as there is one confirm after the other. After a silence only what has come already
    /// is taken.
    async fn wait(&self, answers: &mut [Answer], waiting: &mut [Sending<'_>]) -> bool {
        let mut until = Instant::now() + self.silence;
        let mut is_whole = true;
        for (answer, sending) in answers.iter_mut().zip(waiting).filter(|(answer, _)| answer.is_none()) {
            loop {
                if let Ok(came) = timeout_at(until, &mut *sending).await {
                    *answer = Some(came);
                    if is_whole {
                        until = Instant::now() + self.silence;
                    }
                    break;
                }
                if !is_whole {
                    break;
                }
                // What was written to a blocked server arrives when it goes on.
                if self.live.connection.status().blocked() && Instant::now() < self.deadline {
                    until = self.deadline.min(Instant::now() + self.silence);
                    continue;
                }
                is_whole = false;
                if !self.live.connection.status().blocked() && !self.link.is_answering(self.live).await {
                    self.link.give_up(self.live.generation, &"no confirm in time");
                }
            }
        }
        // What a blocked channel was given is confirmed later, to nobody.
        is_whole || self.live.connection.status().blocked()
    }

    /// The driver hands a returned message to whichever confirm comes next, which need not be its
    /// own; so they are told apart by id and destination. The channel is ours alone.
    fn fates(&self, batch: &[&Outgoing], answers: Vec<Answer>) -> Vec<Fate> {
        let mut returned = HashSet::new();
        let mut fates = Vec::with_capacity(answers.len());
        for answer in answers {
            let (fate, message) = match answer {
                Some(Ok(Confirmation::Ack(message))) => (Fate::Confirmed, message),
                Some(Ok(Confirmation::Nack(message))) => (Fate::Refused, message),
                Some(Ok(Confirmation::NotRequested)) => (Fate::Lost(unconfirmed()), None),
                Some(Err(cause)) => (self.fate_of(&cause), None),
                None => (Fate::Lost(self.no_confirm()), None),
            };
            returned.extend(message.map(mark));
            fates.push(fate);
        }
        if !returned.is_empty() {
            for (item, fate) in batch.iter().zip(&mut fates) {
                let (_, key) = item.target.route(self.names);
                if returned.contains(&(item.properties.message_id().clone(), key)) {
                    *fate = Fate::Unroutable;
                }
            }
        }
        fates
    }

    fn fate_of(&self, cause: &lapin::Error) -> Fate {
        let error = failed("publish", cause, true, self.link.address());
        match code(cause) {
            Some(PRECONDITION_FAILED | CONTENT_TOO_LARGE) => {
                let text = error.message().to_owned();
                let refused = Error::new(ErrorKind::Rejected, "publish", text).retryable(false);
                Fate::TooLarge(refused.with("rabbitmq", self.link.address()))
            }
            _ => Fate::Lost(error),
        }
    }

    fn no_confirm(&self) -> Error {
        let text = if self.live.connection.status().blocked() { BLOCKED_TEXT } else { "no confirm came in time" };
        Error::new(ErrorKind::Unknown, "publish", text).with("rabbitmq", self.link.address())
    }
}

fn mark(message: BasicReturnMessage) -> (Option<ShortString>, ShortString) {
    (message.delivery.properties.message_id().clone(), message.delivery.routing_key)
}

fn unconfirmed() -> Error {
    Error::new(ErrorKind::Internal, "publish", "the channel does not confirm")
}
