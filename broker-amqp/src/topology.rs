//! Declaring queues and exchanges, and saying what is wrong with those that exist.
//!
//! A declaration is asked for in full, not passively: only then the server compares the arguments.
//! Who has no right to configure is content with what exists.

use std::sync::{Mutex, PoisonError};

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use windlass_core::{Error, ErrorKind, QueueName, Result};

use crate::config::{AmqpBrokerConfig, QueueType};
use crate::connection::{Link, Live};
use crate::delay;
use crate::error::{ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, code, failed, too_slow};
use crate::level::{Names, Slot};

/// The server moves a message to the dead letters when it has taken it back this often. Far above
/// the losses that windlass itself allows, so it meets only what no worker lives to tell.
const DELIVERY_LIMIT: i64 = 20;
/// Listing dead letters takes and gives them back, which must never count.
const NO_LIMIT: i64 = i32::MAX as i64;

/// What exists on the server for one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) names: Names,
    queue_type: QueueType,
    max_length: Option<u32>,
}

impl Topology {
    pub(crate) fn new(config: &AmqpBrokerConfig) -> Self {
        Self { names: Names::new(&config.prefix), queue_type: config.queue_type, max_length: config.max_length }
    }

    /// Declares some slots of a queue, and its dead letters.
    pub(crate) async fn slots(&self, link: &Link, live: &Live, queue: &QueueName, slots: &[Slot]) -> Result<()> {
        let server = Server::new(link, live);
        let dead = self.names.dead(queue);
        server.queue(&dead, self.dead_arguments()).await?;
        for slot in slots {
            let name = self.names.slot(queue, *slot);
            server.queue(&name, self.slot_arguments(*slot, &dead)).await?;
            if *slot != Slot::Front {
                server.exchange(&self.names.due(), ExchangeKind::Topic).await?;
                server.bind(&name, &self.names.due(), &delay::destination(&name)).await?;
            }
        }
        Ok(())
    }

    /// Declares the dead letters of a queue.
    pub(crate) async fn dead(&self, link: &Link, live: &Live, queue: &QueueName) -> Result<()> {
        Server::new(link, live).queue(&self.names.dead(queue), self.dead_arguments()).await
    }

    /// Declares the ladder of delays up to a rung.
    pub(crate) async fn ladder(&self, link: &Link, live: &Live, top: u32) -> Result<()> {
        let server = Server::new(link, live);
        server.exchange(&self.names.due(), ExchangeKind::Topic).await?;
        for rung in 0..=top {
            let below = if rung == 0 { self.names.due() } else { self.names.rung(rung - 1, 0) };
            for part in (0..delay::parts(rung)).rev() {
                let name = self.names.rung(rung, part);
                let (kind, pattern) = match part {
                    0 => (ExchangeKind::Topic, delay::digit(rung, true)),
                    _ => (ExchangeKind::Fanout, String::new()),
                };
                let next = match part + 1 < delay::parts(rung) {
                    true => self.names.rung(rung, part + 1),
                    false => below.clone(),
                };
                server.exchange(&name, kind).await?;
                server.queue(&name, self.rung_arguments(rung, &next)).await?;
                server.bind(&name, &name, &pattern).await?;
            }
            server.chain(&below, &self.names.rung(rung, 0), &delay::digit(rung, false)).await?;
        }
        Ok(())
    }

    fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        set_text(&mut arguments, "x-queue-type", self.queue_type.as_str());
        arguments
    }

    fn dead_arguments(&self) -> FieldTable {
        let mut arguments = self.arguments();
        if self.queue_type == QueueType::Quorum {
            set(&mut arguments, "x-delivery-limit", NO_LIMIT);
        }
        arguments
    }

    fn slot_arguments(&self, slot: Slot, dead: &str) -> FieldTable {
        let mut arguments = self.moving("", Some(dead));
        if self.queue_type == QueueType::Quorum {
            set(&mut arguments, "x-delivery-limit", DELIVERY_LIMIT);
        }
        if let Some(most) = self.max_length.filter(|_| slot != Slot::Front) {
            set(&mut arguments, "x-max-length", i64::from(most));
            set_text(&mut arguments, "x-overflow", "reject-publish");
        }
        arguments
    }

    fn rung_arguments(&self, rung: u32, next: &str) -> FieldTable {
        let mut arguments = self.moving(next, None);
        let ttl = i64::try_from(delay::ttl(rung).as_millis()).unwrap_or(i64::MAX);
        set(&mut arguments, "x-message-ttl", ttl);
        arguments
    }

    /// Where the server moves what it takes out; never lost on the way, if the kind of queue can.
    fn moving(&self, exchange: &str, key: Option<&str>) -> FieldTable {
        let mut arguments = self.arguments();
        set_text(&mut arguments, "x-dead-letter-exchange", exchange);
        if let Some(key) = key {
            set_text(&mut arguments, "x-dead-letter-routing-key", key);
        }
        if self.queue_type == QueueType::Quorum {
            set_text(&mut arguments, "x-dead-letter-strategy", "at-least-once");
            set_text(&mut arguments, "x-overflow", "reject-publish");
        }
        arguments
    }
}

fn set(arguments: &mut FieldTable, name: &'static str, value: i64) {
    arguments.insert(name.into(), AMQPValue::LongLongInt(value));
}

fn set_text(arguments: &mut FieldTable, name: &'static str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}

/// `name=value` of each argument, for texts.
fn show(arguments: &FieldTable) -> String {
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs: Vec<String> = arguments.inner().iter().map(|(name, any)| format!("{name}={}", value(any))).collect();
    format!("durable, {}", pairs.join(", "))
}

/// One connection to declare things on, with a channel of its own, which every refusal closes.
struct Server<'a> {
    link: &'a Link,
    live: &'a Live,
    channel: Mutex<Option<Channel>>,
}

impl<'a> Server<'a> {
    fn new(link: &'a Link, live: &'a Live) -> Self {
        Self { link, live, channel: Mutex::new(None) }
    }

    async fn queue(&self, name: &str, arguments: FieldTable) -> Result<()> {
        let channel = self.channel().await?;
        let declare = |channel: Channel, passive: bool| {
            let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
            let arguments = if passive { FieldTable::default() } else { arguments.clone() };
            async move { channel.queue_declare(name.into(), options, arguments).await.map(drop) }
        };
        let refused = match self.link.answer(self.live, declare(channel, false)).await {
            Some(Ok(())) => return Ok(()),
            Some(Err(cause)) if code(&cause) == Some(ACCESS_REFUSED) => cause,
            other => return self.settled(other, "queue", name, || show(&arguments)),
        };
        let passive = self.link.answer(self.live, declare(self.channel().await?, true)).await;
        self.content("queue", name, &refused, passive)
    }

    async fn exchange(&self, name: &str, kind: ExchangeKind) -> Result<()> {
        let channel = self.channel().await?;
        let declare = |channel: Channel, passive: bool| {
            let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
            let kind = kind.clone();
            async move { channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await }
        };
        let refused = match self.link.answer(self.live, declare(channel, false)).await {
            Some(Ok(())) => return Ok(()),
            Some(Err(cause)) if code(&cause) == Some(ACCESS_REFUSED) => cause,
            other => return self.settled(other, "exchange", name, || format!("durable, type {kind:?}").to_lowercase()),
        };
        let passive = self.link.answer(self.live, declare(self.channel().await?, true)).await;
        self.content("exchange", name, &refused, passive)
    }

    async fn bind(&self, queue: &str, exchange: &str, pattern: &str) -> Result<()> {
        let channel = self.channel().await?;
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(queue.into(), exchange.into(), pattern.into(), options, FieldTable::default());
        self.bound(self.link.answer(self.live, bound).await, queue)
    }

    async fn chain(&self, below: &str, above: &str, pattern: &str) -> Result<()> {
        let channel = self.channel().await?;
        let options = ExchangeBindOptions::default();
        let bound = channel.exchange_bind(below.into(), above.into(), pattern.into(), options, FieldTable::default());
        self.bound(self.link.answer(self.live, bound).await, below)
    }

    /// Who may not configure relies on whoever has declared the queue to have bound it too.
    fn bound(&self, answer: Option<lapin::Result<()>>, name: &str) -> Result<()> {
        match answer {
            Some(Err(cause)) if code(&cause) == Some(ACCESS_REFUSED) => Ok(()),
            other => self.settled(other, "binding", name, String::new),
        }
    }

    async fn channel(&self) -> Result<Channel> {
        let last = self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(channel) = last.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = self.link.channel("declare", self.live).await?;
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel.clone());
        Ok(channel)
    }

    fn settled(
        &self,
        answer: Option<lapin::Result<()>>,
        what: &str,
        name: &str,
        wanted: impl Fn() -> String,
    ) -> Result<()> {
        match answer {
            Some(Ok(())) => Ok(()),
            Some(Err(cause)) if code(&cause) == Some(PRECONDITION_FAILED) => {
                let found = failed("declare", &cause, false, self.link.address());
                let text = format!(
                    "{what} {name:?} exists with other arguments; wanted: {}; RabbitMQ says: {}",
                    wanted(),
                    found.message()
                );
                Err(Error::new(ErrorKind::Config, "declare", text).with("rabbitmq", self.link.address()))
            }
            Some(Err(cause)) => Err(failed("declare", &cause, false, self.link.address()).with("name", name)),
            None => Err(too_slow("declare", false, self.link.address())),
        }
    }

    /// For one who may not declare: what exists will do.
    fn content(&self, what: &str, name: &str, refused: &lapin::Error, answer: Option<lapin::Result<()>>) -> Result<()> {
        match answer {
            Some(Err(cause)) if matches!(code(&cause), Some(NOT_FOUND | ACCESS_REFUSED)) => {
                Err(failed("declare", refused, false, self.link.address()).with("name", name))
            }
            other => self.settled(other, what, name, String::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::Priority;

    use super::*;

    fn shown(config: &AmqpBrokerConfig, slot: Slot) -> String {
        show(&Topology::new(config).slot_arguments(slot, "dead"))
    }

    #[test]
    fn arguments_follow_the_settings() {
        let normal = Slot::Level(Priority::Normal);
        let quorum = AmqpBrokerConfig::default().max_length(Some(5));
        assert_eq!(
            shown(&quorum, normal),
            "durable, x-dead-letter-exchange=, x-dead-letter-routing-key=dead, \
             x-dead-letter-strategy=at-least-once, x-delivery-limit=20, x-max-length=5, \
             x-overflow=reject-publish, x-queue-type=quorum"
        );
        assert!(!shown(&quorum, Slot::Front).contains("x-max-length"), "what is given back always fits");
        let classic = AmqpBrokerConfig::default().queue_type(QueueType::Classic);
        assert_eq!(
            shown(&classic, normal),
            "durable, x-dead-letter-exchange=, x-dead-letter-routing-key=dead, x-queue-type=classic"
        );
    }
}
