//! Looking into a queue and changing single messages.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;
use windlass_core::message::wire;
use windlass_core::{
    CancelOutcome, DeadLetter, DeadPage, Error, Location, Progress, QueueName, Replay, Result, TaskId, Timestamp,
    Token, Undecodable, limits,
};

use crate::broker::Shared;
use crate::connection::Link;
use crate::keys::{Keys, Part};
use crate::publish::millis;
use crate::scripts::{CANCEL, DEAD, DISCARD, LOCATE, REPLAY, Step};

/// Dead letters that one call puts back: their bodies are copied.
const REPLAY_ITEMS: usize = 100;

pub(crate) async fn cancel(shared: &Arc<Shared>, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
    let answer = ask(shared, &CANCEL, queue, id).await?;
    match &answer {
        Value::BulkString(letter) if letter == b"C" => Ok(CancelOutcome::Cancelled),
        Value::BulkString(letter) if letter == b"R" => Ok(CancelOutcome::Running),
        Value::BulkString(letter) if letter == b"N" => Ok(CancelOutcome::NotFound),
        other => Err(CANCEL.unexpected(other)),
    }
}

pub(crate) async fn locate(shared: &Arc<Shared>, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
    let answer = ask(shared, &LOCATE, queue, id).await?;
    match &answer {
        Value::BulkString(letter) if letter == b"N" => Ok(None),
        Value::BulkString(letter) if letter == b"Q" => Ok(Some(Location::Queued)),
        Value::BulkString(letter) if letter == b"D" => Ok(Some(Location::Dead)),
        Value::BulkString(text) => {
            let token = text.strip_prefix(b"R").and_then(|token| std::str::from_utf8(token).ok()?.parse().ok());
            token.map(|token| Some(Location::Running { token: Token(token) })).ok_or_else(|| LOCATE.unexpected(&answer))
        }
        Value::Array(parts) => match parts.as_slice() {
            [Value::BulkString(due), Value::BulkString(progress)] => {
                let retrying = Progress::read(&String::from_utf8_lossy(progress)).failures > 0;
                Ok(Some(Location::Scheduled { due: timestamp(due), retrying }))
            }
            _ => Err(LOCATE.unexpected(&answer)),
        },
        other => Err(LOCATE.unexpected(other)),
    }
}

async fn ask(shared: &Arc<Shared>, step: &'static Step, queue: &QueueName, id: &TaskId) -> Result<Value> {
    let mut call = step.call(&mut Keys::new(&shared.config.prefix, queue), 1, 40);
    id.with_str(|id| {
        call.command.arg(id);
    });
    shared.run(queue, call).await
}

/// A place in the order of dead letters: by time of death, then by id.
struct Cursor<'a> {
    died: &'a str,
    id: &'a str,
}

impl<'a> Cursor<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        match text.split_once(':') {
            Some((died, id)) if !died.is_empty() && died.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
                Ok(Self { died, id })
            }
            _ => Err(Error::invalid("cursor", format_args!("{text:?}"), "the `next` of the page before")),
        }
    }

    fn is_before(&self, died: &[u8], id: &[u8]) -> bool {
        died != self.died.as_bytes() || id > self.id.as_bytes()
    }
}

pub(crate) async fn dead_letters(
    shared: &Arc<Shared>,
    queue: &QueueName,
    cursor: Option<&str>,
    max: usize,
) -> Result<DeadPage> {
    let cursor = cursor.map(Cursor::parse).transpose()?;
    let max = max.clamp(1, limits::BATCH_ITEMS);
    let mut skip = 0;
    // Letters that died in the microsecond of the cursor may come again; they are passed over.
    loop {
        let mut call = DEAD.call(&mut Keys::new(&shared.config.prefix, queue), 4, 56);
        let from = cursor.as_ref().map_or("0", |cursor| cursor.died);
        call.command.arg(from).arg(skip).arg(max).arg(millis(shared.config.dead_ttl));
        let (more, found) = read_page(shared.run(queue, call).await?)?;
        skip += found.len();
        let last = found.last().map(|[id, died, ..]| format!("{}:{}", lossy(died), lossy(id)));
        let new = found.into_iter().filter(|[id, died, ..]| cursor.as_ref().is_none_or(|c| c.is_before(died, id)));
        let letters: Vec<DeadLetter> = new.filter_map(|letter| read_letter(queue, letter)).collect();
        if !letters.is_empty() || !more {
            return Ok(DeadPage { letters, next: last.filter(|_| more) });
        }
    }
}

type RawLetter = [Vec<u8>; 4];

fn read_page(answer: Value) -> Result<(bool, Vec<RawLetter>)> {
    let Value::Array(parts) = answer else { return Err(DEAD.unexpected(&answer)) };
    let mut parts = parts.into_iter();
    let more = DEAD.bytes(parts.next().unwrap_or_default())? == b"1";
    let mut letters = Vec::with_capacity(parts.len() / 4);
    while let Some(id) = parts.next() {
        let mut next = || DEAD.bytes(parts.next().unwrap_or_default());
        letters.push([DEAD.bytes(id)?, next()?, next()?, next()?]);
    }
    Ok((more, letters))
}

fn read_letter(queue: &QueueName, [id, died, info, body]: RawLetter) -> Option<DeadLetter> {
    let id = TaskId::new(lossy(&id)).ok()?;
    let info = lossy(&info);
    let (progress, reason) = info.split_once('\n').unwrap_or(("", &info));
    let bytes = Bytes::from(body);
    let content = wire::decode(id.clone(), queue.clone(), &bytes).map_err(|malformed| Undecodable { malformed, bytes });
    Some(DeadLetter {
        id,
        died_at: timestamp(&died),
        reason: reason.to_owned(),
        progress: Progress::read(progress),
        content,
    })
}

pub(crate) async fn replay(shared: &Arc<Shared>, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
    for Replay { id, edited } in letters {
        let checked = edited.as_ref().map_or(Ok(()), |edited| edited.check(shared.config.payload));
        checked.map_err(|error| error.with_task(id.clone()))?;
    }
    let letters: Vec<(&TaskId, Bytes)> = letters
        .iter()
        .map(|Replay { id, edited }| (id, edited.as_ref().map(wire::encode).unwrap_or_default()))
        .collect();
    let mut replayed = 0;
    for batch in limits::batches(&letters, |(_, edited)| edited.len()) {
        for batch in batch.chunks(REPLAY_ITEMS) {
            let bytes = batch.iter().map(|(_, edited)| edited.len() + 48).sum();
            let mut call = REPLAY.call(&mut Keys::new(&shared.config.prefix, queue), 2 * batch.len(), bytes);
            for (id, edited) in batch {
                id.with_str(|id| {
                    call.command.arg(id);
                });
                call.command.arg(&edited[..]);
            }
            replayed += count(&REPLAY, shared.run(queue, call).await?)?;
        }
    }
    Ok(replayed)
}

pub(crate) async fn discard(shared: &Arc<Shared>, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
    let mut discarded = 0;
    for ids in ids.chunks(limits::BATCH_ITEMS) {
        let mut call = DISCARD.call(&mut Keys::new(&shared.config.prefix, queue), ids.len(), 40 * ids.len());
        for id in ids {
            id.with_str(|id| {
                call.command.arg(id);
            });
        }
        discarded += count(&DISCARD, shared.run(queue, call).await?)?;
    }
    Ok(discarded)
}

fn count(step: &Step, answer: Value) -> Result<usize> {
    match answer {
        Value::Int(count) => Ok(usize::try_from(count).unwrap_or(0)),
        other => Err(step.unexpected(&other)),
    }
}

/// The first key of the queue that is of a foreign type: the key, its type, the type it should be.
pub(crate) async fn foreign_key(
    link: &Link,
    prefix: &str,
    queue: &QueueName,
) -> Option<(String, String, &'static str)> {
    let mut keys = Keys::new(prefix, queue);
    for part in Part::ALL {
        let mut command = redis::cmd("TYPE");
        let key = keys.part(part);
        let Ok(Value::SimpleString(found)) = link.send("inspect", command.arg(key)).await else { continue };
        if found != "none" && found != part.redis_type() {
            return Some((key.to_owned(), found, part.redis_type()));
        }
    }
    None
}

fn timestamp(millis: &[u8]) -> Timestamp {
    // A double is exact to the microsecond for the next two centuries.
    Timestamp::from_micros((lossy(millis).parse::<f64>().unwrap_or(0.0) * 1000.0).round() as i64)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
