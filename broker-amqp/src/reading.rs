//! Taking the dead letters of a queue.
//!
//! AMQP has no way to look at a queue, so the letters are taken, read, and given back by closing the
//! channel, which keeps their order. One who reads waits for the end of another. What is too old, or
//! beyond the number that is kept, is removed on the way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::{Instant, sleep, timeout};
use windlass_core::{Error, ErrorKind, QueueName, Result, Timestamp};

use crate::broker::Shared;
use crate::connection::Live;
use crate::envelope::{Letter, now};
use crate::turn::Turn;

/// The most that a server lets one consumer have.
pub(crate) const MOST: u16 = u16::MAX;
/// How long a letter may take that the server has told of.
const NEXT: Duration = Duration::from_millis(1000);
/// How long one may take beyond that: the count of a quorum queue lags behind.
const QUIET: Duration = Duration::from_millis(150);
/// How long what was given back may take to be there.
const BACK: Duration = Duration::from_secs(1);
/// How long what was removed may take to be gone, where letters are added meanwhile.
const GONE: Duration = Duration::from_millis(200);
pub(crate) const OPERATION: &str = "dead letters";
/// How soon the letters are counted again.
const AGAIN: Duration = Duration::from_millis(20);

/// The dead letters in their order, as long as this exists.
pub(crate) struct Reading<'a> {
    shared: &'a Shared,
    live: Live,
    channel: Channel,
    consumer: Option<Consumer>,
    /// The AMQP queue that is read.
    name: String,
    /// How many there were, and how many of them have not come yet.
    found: usize,
    told: usize,
    /// How many are to be removed because there are more than are kept.
    excess: usize,
    /// Letters from before this time are too old.
    oldest: Timestamp,
    taken: usize,
    removed: usize,
    /// Those of the removed ones that nobody has asked for.
    trimmed: usize,
    turn: Turn,
}

impl<'a> Reading<'a> {
    /// Waits while somebody else reads, and asks how many there are. Takes nothing yet.
    pub(crate) async fn begin(shared: &'a Shared, queue: &QueueName) -> Result<Self> {
        let link = &shared.parts.consume;
        let turn = Arc::clone(&shared.reading).lock_owned().await;
        let live = link.live().await?;
        shared.parts.topology.dead(link, &live, queue).await?;
        let name = shared.parts.topology.names.dead(queue);
        let turn = Turn::take(shared, turn, &live, &name).await?;
        let channel = link.channel(OPERATION, &live).await?;
        let told = count(shared, &live, &channel, &name).await?;
        let most = usize::try_from(shared.config.dead_max).unwrap_or(usize::MAX);
        let ttl = i64::try_from(shared.config.dead_ttl.as_micros()).unwrap_or(i64::MAX);
        let oldest = i64::try_from(now()).unwrap_or(i64::MAX).saturating_sub(ttl);
        Ok(Self {
            shared,
            live,
            channel,
            consumer: None,
            name,
            found: told,
            told,
            excess: told.saturating_sub(most),
            oldest: Timestamp::from_micros(oldest),
            taken: 0,
            removed: 0,
            trimmed: 0,
            turn,
        })
    }

    /// As [`Reading::begin`], and begins to take all.
    pub(crate) async fn of_all(shared: &'a Shared, queue: &QueueName) -> Result<Self> {
        let mut reading = Self::begin(shared, queue).await?;
        reading.consume(MOST).await?;
        Ok(reading)
    }

    /// Begins to take the first `most`, at least 1, and as many more as are removed.
    pub(crate) async fn consume(&mut self, most: u16) -> Result<()> {
        let link = &self.shared.parts.consume;
        let qos = self.channel.basic_qos(most, BasicQosOptions::default());
        link.ask(OPERATION, &self.live, qos).await?;
        let (options, tag) = (BasicConsumeOptions::default(), format!("windlass-{:016x}", fastrand::u64(..)));
        let (name, arguments) = (self.name.as_str().into(), FieldTable::default());
        let started = self.channel.basic_consume(name, tag.into(), options, arguments);
        self.consumer = Some(link.ask(OPERATION, &self.live, started).await?);
        Ok(())
    }

    /// Takes no more.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(consumer) = self.consumer.take() else { return Ok(()) };
        let stopped = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        self.shared.parts.consume.ask(OPERATION, &self.live, stopped).await
    }

    /// How many there are beyond the number that is kept.
    pub(crate) fn excess(&self) -> usize {
        self.excess
    }

    /// The next letter that is kept.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Letter)>> {
        while let Some((tag, letter)) = self.pull().await? {
            if self.excess == 0 && !self.is_too_old(&letter) {
                return Ok(Some((tag, letter)));
            }
            self.excess = self.excess.saturating_sub(1);
            self.trim(&[tag]).await?;
        }
        Ok(None)
    }

    /// The next letter, whatever it is.
    pub(crate) async fn pull(&mut self) -> Result<Option<(u64, Letter)>> {
        if self.taken - self.removed >= usize::from(MOST) {
            return Ok(None);
        }
        let Some(consumer) = &mut self.consumer else { return Ok(None) };
        let limit = if self.told > 0 { NEXT } else { QUIET };
        self.told = self.told.saturating_sub(1);
        match timeout(limit, consumer.next()).await {
            Ok(Some(Ok(delivery))) => {
                self.taken += 1;
                Ok(Some((delivery.delivery_tag, Letter::read(delivery))))
            }
            Ok(Some(Err(cause))) => Err(Error::new(ErrorKind::Unavailable, OPERATION, cause.to_string())),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// What somebody else has put there has no time of death.
    pub(crate) fn is_too_old(&self, letter: &Letter) -> bool {
        letter.stamp.death.as_ref().is_some_and(|(_, died)| *died < self.oldest)
    }

    /// Removes letters that were asked for.
    pub(crate) async fn remove(&mut self, tags: &[u64]) -> Result<()> {
        for tag in tags {
            let acknowledged = self.channel.basic_ack(*tag, BasicAckOptions::default());
            self.shared.parts.consume.ask(OPERATION, &self.live, acknowledged).await?;
        }
        self.removed += tags.len();
        Ok(())
    }

    /// Removes letters that are not kept any longer.
    pub(crate) async fn trim(&mut self, tags: &[u64]) -> Result<()> {
        self.trimmed += tags.len();
        self.remove(tags).await
    }

    /// Gives back what was not removed, and waits until it is back and the rest is gone, so that the next
    /// who reads finds and counts what there is.
    pub(crate) async fn end(self) -> Result<()> {
        let Self { shared, live, channel, name, found, taken, removed, trimmed, turn, .. } = self;
        if trimmed > 0 {
            tracing::info!(target: "windlass::broker::amqp", removed = trimmed,
                "dead letters of {name} that were too many or too old are removed (settings: broker.dead_max, \
                 broker.dead_ttl)");
        }
        let link = &shared.parts.consume;
        link.ask(OPERATION, &live, channel.close(200, "read".into())).await?;
        let channel = link.channel(OPERATION, &live).await?;
        let begun = Instant::now();
        loop {
            let all = count(shared, &live, &channel, &name).await? + removed;
            let (is_back, is_gone) = (all >= taken, removed == 0 || all <= found);
            let waited = begun.elapsed();
            if (is_back || waited >= BACK) && (is_gone || waited >= GONE) {
                break;
            }
            sleep(AGAIN).await;
        }
        turn.give().await
    }
}

async fn count(shared: &Shared, live: &Live, channel: &Channel, name: &str) -> Result<usize> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(name.into(), passive, FieldTable::default());
    let count = shared.parts.consume.ask(OPERATION, live, found).await?.message_count();
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
