//! The dead letters of a queue: listed, put back, removed for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use windlass_core::message::wire;
use windlass_core::{
    DeadLetter, DeadPage, Error, Message, Priority, Progress, QueueName, Replay, Result, TaskId, Timestamp,
    Undecodable, limits,
};

use crate::broker::Shared;
use crate::envelope::{Letter, Stamp};
use crate::error::too_slow;
use crate::level::Slot;
use crate::reading::Reading;
use crate::route::{Outgoing, Target};

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
pub(crate) async fn page(shared: &Shared, queue: &QueueName, after: Option<Place>, max: usize) -> Result<DeadPage> {
    let mut reading = Reading::of_all(shared, queue).await?;
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
    reading.end().await?;
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

pub(crate) async fn replay(shared: &Arc<Shared>, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
    for letter in letters {
        letter.edited.iter().try_for_each(|message| message.check(shared.config.payload))?;
    }
    let (worker, queue) = (Arc::clone(shared), queue.clone());
    let wanted: Wanted = letters.iter().map(|letter| (letter.id.clone(), letter.edited.clone())).collect();
    shared.spawner.start(async move { replay_all(&worker, &queue, wanted).await }).await?
}

/// What is put back, and what runs in its place.
type Wanted = BTreeMap<TaskId, Option<Message>>;

async fn replay_all(shared: &Shared, queue: &QueueName, mut wanted: Wanted) -> Result<usize> {
    if wanted.is_empty() {
        return Ok(0);
    }
    let mut reading = Reading::of_all(shared, queue).await?;
    let (mut tags, mut copies) = (Vec::new(), Vec::new());
    while !wanted.is_empty()
        && let Some((tag, letter)) = reading.next().await?
    {
        if let Some(edited) = wanted.remove(&letter.id) {
            tags.push(tag);
            copies.push(fresh(queue, &letter, edited.as_ref()));
        }
    }
    let deadline = Instant::now() + shared.config.send_timeout;
    let mut sent = shared.parts.sender.send(&copies, deadline).await;
    tags = tags.into_iter().zip(&sent).filter_map(|(tag, sent)| sent.is_ok().then_some(tag)).collect();
    reading.remove(&tags).await?;
    let ended = timeout_at(deadline, reading.end()).await;
    match (sent.iter().position(Result::is_err), ended) {
        (Some(failed), _) => sent.swap_remove(failed).map(|()| tags.len()),
        (None, Ok(ended)) => ended.map(|()| tags.len()),
        (None, Err(_)) => Err(too_slow("replay", true, shared.parts.consume.address())),
    }
}

/// A copy with fresh counts, as it was or as it was edited, at the level that the message asks for.
fn fresh(queue: &QueueName, letter: &Letter, edited: Option<&Message>) -> Outgoing {
    let (level, bytes) = match edited {
        Some(edited) => (edited.priority(), wire::encode(edited)),
        None => (level(queue, letter), Bytes::clone(&letter.bytes)),
    };
    let stamp = Stamp::copy(letter.token(), Progress::default());
    Outgoing::new(Target::Slot(queue.clone(), Slot::Level(level)), &letter.id, &stamp, bytes)
}

fn level(queue: &QueueName, letter: &Letter) -> Priority {
    let asked = || wire::decode(letter.id.clone(), queue.clone(), &letter.bytes).ok().map(|message| message.priority());
    letter.stamp.level.or_else(asked).unwrap_or_default()
}

pub(crate) async fn discard(shared: &Arc<Shared>, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
    let (worker, queue) = (Arc::clone(shared), queue.clone());
    let wanted: BTreeSet<TaskId> = ids.iter().cloned().collect();
    shared.spawner.start(async move { discard_all(&worker, &queue, &wanted).await }).await?
}

/// Reads all letters, because one that was copied just before a crash is there twice.
async fn discard_all(shared: &Shared, queue: &QueueName, wanted: &BTreeSet<TaskId>) -> Result<usize> {
    if wanted.is_empty() {
        return Ok(0);
    }
    let mut reading = Reading::of_all(shared, queue).await?;
    let mut found = BTreeSet::new();
    while let Some((tag, letter)) = reading.next().await? {
        if wanted.contains(&letter.id) {
            reading.remove(&[tag]).await?;
            found.insert(letter.id);
        }
    }
    reading.end().await?;
    Ok(found.len())
}
