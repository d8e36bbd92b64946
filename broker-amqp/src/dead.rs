//! The dead letters of a queue.
//!
//! AMQP has no way to look at a queue, so the letters are taken, read, and given back by closing the
//! channel, which keeps their order. One who lists or replays waits for the end of another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use windlass_core::message::wire;
use windlass_core::{
    DeadLetter, DeadPage, Error, ErrorKind, Progress, QueueName, Result, TaskId, Timestamp, Undecodable, limits,
};

use crate::broker::Shared;
use crate::connection::Live;
use crate::envelope::{Letter, Stamp};
use crate::error::{RESOURCE_LOCKED, code, failed, too_slow};
use crate::level::Slot;
use crate::route::{Outgoing, Target};

/// The most that a server lets one consumer have.
const MOST: usize = u16::MAX as usize;
/// How long a letter may take that the server has told of.
const NEXT: Duration = Duration::from_millis(1000);
/// How long one may take beyond that: the count of a quorum queue lags behind.
const QUIET: Duration = Duration::from_millis(150);
/// How long what was given back may take to be there.
const BACK: Duration = Duration::from_secs(1);
const OPERATION: &str = "dead letters";
/// How soon somebody who waits for the end of another listing looks again.
const AGAIN: Duration = Duration::from_millis(20);

/// The dead letters in their order, as long as this exists.
struct Reading<'a> {
    live: Live,
    channel: Channel,
    consumer: Consumer,
    /// The AMQP queue that is read.
    name: String,
    /// How many may still be taken, how many of them the server has told of, and how many are ours.
    left: usize,
    told: usize,
    taken: usize,
    /// The turn in this process; the turn among all is an exclusive queue.
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Reading<'a> {
    /// Begins to take all letters. Waits while somebody else reads.
    async fn begin(shared: &'a Shared, queue: &QueueName) -> Result<Self> {
        let link = &shared.parts.consume;
        let turn = shared.reading.lock().await;
        let live = link.live().await?;
        shared.parts.topology.dead(link, &live, queue).await?;
        let name = shared.parts.topology.names.dead(queue);
        lock(shared, &live, &name).await?;
        let channel = link.channel(OPERATION, &live).await?;
        let told = count(shared, &live, &channel, &name).await?;
        let qos = channel.basic_qos(u16::MAX, BasicQosOptions::default());
        link.ask(OPERATION, &live, qos).await?;
        let (options, tag) = (BasicConsumeOptions::default(), format!("windlass-{:016x}", fastrand::u64(..)));
        let started = channel.basic_consume(name.as_str().into(), tag.into(), options, FieldTable::default());
        let consumer = link.ask(OPERATION, &live, started).await?;
        Ok(Self { live, channel, consumer, name, left: MOST, told, taken: 0, _turn: turn })
    }

    async fn next(&mut self) -> Result<Option<(u64, Letter)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let limit = if self.told > 0 { NEXT } else { QUIET };
        self.told = self.told.saturating_sub(1);
        match timeout(limit, self.consumer.next()).await {
            Ok(Some(Ok(delivery))) => {
                self.taken += 1;
                Ok(Some((delivery.delivery_tag, Letter::read(delivery))))
            }
            Ok(Some(Err(cause))) => Err(Error::new(ErrorKind::Unavailable, OPERATION, cause.to_string())),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// Gives back what was not acknowledged, and waits until it is back, so that the next who reads
    /// finds all.
    async fn end(self, shared: &Shared, acknowledged: usize) -> Result<()> {
        let Self { live, channel, name, taken, _turn, .. } = self;
        let link = &shared.parts.consume;
        link.ask(OPERATION, &live, channel.close(200, "read".into())).await?;
        let channel = link.channel(OPERATION, &live).await?;
        let until = Instant::now() + BACK;
        while count(shared, &live, &channel, &name).await? + acknowledged < taken && Instant::now() < until {
            sleep(AGAIN).await;
        }
        let unlocked = channel.queue_delete(lock_name(&name).into(), QueueDeleteOptions::default());
        link.ask(OPERATION, &live, unlocked).await.map(drop)
    }
}

fn lock_name(name: &str) -> String {
    format!("{name}.reading")
}

/// Waits until nobody else reads. The lock is a queue that belongs to our connection and ends with it.
async fn lock(shared: &Shared, live: &Live, name: &str) -> Result<()> {
    let link = &shared.parts.consume;
    let deadline = Instant::now() + shared.config.send_timeout;
    loop {
        let channel = link.channel(OPERATION, live).await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(lock_name(name).into(), options, FieldTable::default());
        match link.answer(live, declared).await {
            Some(Ok(_)) => return Ok(()),
            Some(Err(cause)) if code(&cause) == Some(RESOURCE_LOCKED) && Instant::now() + AGAIN < deadline => {
                sleep(AGAIN).await;
            }
            Some(Err(cause)) => return Err(failed(OPERATION, &cause, false, link.address())),
            None => return Err(too_slow(OPERATION, false, link.address())),
        }
    }
}

async fn count(shared: &Shared, live: &Live, channel: &Channel, name: &str) -> Result<usize> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(name.into(), passive, FieldTable::default());
    let count = shared.parts.consume.ask(OPERATION, live, found).await?.message_count();
    Ok(usize::try_from(count).unwrap_or(MOST))
}

/// The place of a letter among all: when it died, and its id.
type Place = (Timestamp, TaskId);

fn parse(cursor: &str) -> Result<Place> {
    let wrong = || Error::invalid("cursor", format_args!("{cursor:?}"), "what the page before has answered");
    let (died, id) = cursor.split_once(' ').ok_or_else(wrong)?;
    let died = Timestamp::from_micros(died.parse().map_err(|_| wrong())?);
    Ok((died, TaskId::new(id).map_err(|_| wrong())?))
}

pub(crate) async fn dead_letters(
    shared: &Arc<Shared>,
    queue: &QueueName,
    cursor: Option<&str>,
    max: usize,
) -> Result<DeadPage> {
    let after = cursor.map(parse).transpose()?;
    let (worker, queue, max) = (Arc::clone(shared), queue.clone(), max.clamp(1, limits::BATCH_ITEMS));
    shared.spawner.start(async move { page(&worker, &queue, after, max).await }).await?
}

/// Reads all letters, because a quorum queue puts what is given back behind the others: given back
/// all together, they keep their order. Keeps no more than the page.
async fn page(shared: &Shared, queue: &QueueName, after: Option<Place>, max: usize) -> Result<DeadPage> {
    let mut reading = Reading::begin(shared, queue).await?;
    let mut kept: BTreeMap<(Place, u64), DeadLetter> = BTreeMap::new();
    let mut more = false;
    while let Some((tag, letter)) = reading.next().await? {
        let letter = dead_letter(queue, letter);
        let place = (letter.died_at, letter.id.clone());
        if after.as_ref().is_some_and(|after| place <= *after) {
            continue;
        }
        kept.insert((place, tag), letter);
        if kept.len() > max {
            kept.pop_last();
            more = true;
        }
    }
    reading.end(shared, 0).await?;
    let last = kept.last_key_value().filter(|_| more);
    let next = last.map(|(((died, id), _), _)| format!("{} {id}", died.as_micros()));
    Ok(DeadPage { letters: kept.into_values().collect(), next })
}

fn dead_letter(queue: &QueueName, letter: Letter) -> DeadLetter {
    let Letter { id, stamp, bytes, .. } = letter;
    let unexplained = || ("it was put here by somebody else".to_owned(), Timestamp::default());
    let (reason, died_at) = stamp.death.unwrap_or_else(unexplained);
    let content = wire::decode(id.clone(), queue.clone(), &bytes).map_err(|malformed| Undecodable { malformed, bytes });
    // The server counts how often letters were read; that is nobody's loss.
    DeadLetter { id, died_at, reason, progress: stamp.progress, content }
}

pub(crate) async fn replay(shared: &Arc<Shared>, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
    let (worker, queue) = (Arc::clone(shared), queue.clone());
    let wanted: BTreeSet<TaskId> = ids.iter().cloned().collect();
    shared.spawner.start(async move { replay_all(&worker, &queue, wanted).await }).await?
}

async fn replay_all(shared: &Shared, queue: &QueueName, mut wanted: BTreeSet<TaskId>) -> Result<usize> {
    if wanted.is_empty() {
        return Ok(0);
    }
    let mut reading = Reading::begin(shared, queue).await?;
    let (mut tags, mut copies) = (Vec::new(), Vec::new());
    while !wanted.is_empty()
        && let Some((tag, letter)) = reading.next().await?
    {
        if wanted.remove(&letter.id) {
            tags.push(tag);
            copies.push(fresh(queue, &letter));
        }
    }
    let deadline = Instant::now() + shared.config.send_timeout;
    let sent = shared.parts.sender.send(&copies, deadline).await;
    let mut count = 0;
    let mut first = None;
    for (tag, sent) in tags.into_iter().zip(sent) {
        match sent {
            Ok(()) => {
                let acknowledged = reading.channel.basic_ack(tag, BasicAckOptions::default());
                shared.parts.consume.ask("replay", &reading.live, acknowledged).await?;
                count += 1;
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    // The answer to the end says that the server has seen the acknowledgements.
    let ended = timeout_at(deadline, reading.end(shared, count)).await;
    match (first, ended) {
        (Some(error), _) => Err(error),
        (None, Ok(ended)) => ended.map(|()| count),
        (None, Err(_)) => Err(too_slow("replay", true, shared.parts.consume.address())),
    }
}

/// A copy with fresh counts, at the level that the message asks for.
fn fresh(queue: &QueueName, letter: &Letter) -> Outgoing {
    let asked = wire::decode(letter.id.clone(), queue.clone(), &letter.bytes).ok().map(|message| message.priority());
    let level = letter.stamp.level.or(asked).unwrap_or_default();
    let stamp = Stamp::copy(letter.token(), Progress::default());
    Outgoing::new(Target::Slot(queue.clone(), Slot::Level(level)), &letter.id, &stamp, letter.bytes.clone())
}
