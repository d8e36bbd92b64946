//! Putting messages into queues, once each, whatever happens on the way.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::time::{sleep, timeout_at};
use windlass_core::broker::Overflow;
use windlass_core::message::wire;
use windlass_core::{
    Error, ErrorKind, Message, Priority, PublishOutcome, QueueLimit, QueueName, Result, Schedule, limits,
};

use crate::broker::Shared;
use crate::config::RedisBrokerConfig;
use crate::connection::{Link, pause};
use crate::error::{Failed, Reaction};
use crate::keys::{Keys, Part};
use crate::scripts::{Call, PUBLISH};

/// What a limited queue needs besides.
const LIMITED: [Part; 4] = [Part::Owner, Part::Meta, Part::DeadBody, Part::DeadInfo];
/// Bytes that the envelope adds to a payload, roughly.
const ENVELOPE: usize = 128;

/// Numbers the publish calls of this client, so that the server recognises a call that is repeated
/// because its answer did not arrive.
///
/// A slot is used by one call at a time, with a greater number each time. The server keeps the last
/// number and outcome of each slot, so what it must remember grows with the calls that run at the
/// same moment, not with the messages.
#[derive(Debug)]
pub(crate) struct Publisher {
    client: String,
    free: Mutex<Vec<Slot>>,
    slots: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u32,
    calls: u64,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let client = format!("{:016x}{:08x}", fastrand::u64(..), std::process::id());
        Self { client, free: Mutex::default(), slots: AtomicU32::new(0) }
    }

    fn take(&self) -> Ticket<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = free.unwrap_or_else(|| Slot { number: self.slots.fetch_add(1, Ordering::Relaxed), calls: 0 });
        Ticket { publisher: self, slot: Slot { calls: slot.calls + 1, ..slot } }
    }
}

/// A slot in use; free again when it is dropped.
struct Ticket<'a> {
    publisher: &'a Publisher,
    slot: Slot,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.publisher.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

pub(crate) async fn publish(shared: &Shared, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
    let deadline = Instant::now() + shared.config.send_timeout;
    let mut outcomes: Vec<Option<PublishOutcome>> =
        messages.iter().map(|message| too_large(message, shared.config.payload)).collect();
    let fitting = (0..messages.len()).filter(|place| outcomes[*place].is_none());
    for (queue, places) in by_queue(messages, fitting) {
        let batches = limits::batches(&places, |place| messages[*place].payload.len() + ENVELOPE);
        let same_limit = |a: &usize, b: &usize| messages[*a].limit == messages[*b].limit;
        for places in batches.into_iter().flat_map(|batch| batch.chunk_by(same_limit)) {
            let batch: Vec<&Message> = places.iter().map(|place| &messages[*place]).collect();
            let answers = match send(shared, queue, &batch, deadline).await {
                Ok(answers) => answers,
                Err(error) if error.kind() == ErrorKind::Rejected && places.len() < messages.len() => {
                    batch.iter().map(|_| PublishOutcome::Rejected(error.duplicate())).collect()
                }
                Err(error) => return Err(in_part(error, &outcomes)),
            };
            for (place, answer) in places.iter().zip(answers) {
                outcomes[*place] = Some(answer);
            }
        }
    }
    all_refused(outcomes.into_iter().flatten().collect())
}

/// The refusal of a message that does not fit.
fn too_large(message: &Message, limit: usize) -> Option<PublishOutcome> {
    let error = limits::check_payload(message.payload.len(), limit).err()?;
    Some(PublishOutcome::Rejected(error.with_task(message.id.clone())))
}

/// The places of the messages of each queue, in their order.
fn by_queue(messages: &[Message], chosen: impl Iterator<Item = usize>) -> Vec<(&QueueName, Vec<usize>)> {
    let mut queues: Vec<(&QueueName, Vec<usize>)> = Vec::new();
    for place in chosen {
        let queue = &messages[place].queue;
        match queues.iter_mut().find(|(known, _)| *known == queue) {
            Some((_, places)) => places.push(place),
            None => queues.push((queue, vec![place])),
        }
    }
    queues
}

/// When some batches of a call are in the broker, "nothing was applied" is not true any more.
fn in_part(error: Error, outcomes: &[Option<PublishOutcome>]) -> Error {
    let accepted = outcomes.iter().flatten().filter(|outcome| outcome.is_accepted()).count();
    if accepted == 0 {
        return error;
    }
    let text = format!("{accepted} of {} messages are in the broker, then: {}", outcomes.len(), error.message());
    Error::new(ErrorKind::Unknown, "publish", text).with_source(error)
}

/// A call of which nothing was taken is refused as a whole.
fn all_refused(mut outcomes: Vec<PublishOutcome>) -> Result<Vec<PublishOutcome>> {
    if outcomes.is_empty() || !outcomes.iter().all(|outcome| matches!(outcome, PublishOutcome::Rejected(_))) {
        return Ok(outcomes);
    }
    match outcomes.swap_remove(0) {
        PublishOutcome::Rejected(error) => Err(error),
        _ => Ok(outcomes),
    }
}

/// Sends one batch, again and again until there is an answer or the time is over.
async fn send(
    shared: &Shared,
    queue: &QueueName,
    batch: &[&Message],
    deadline: Instant,
) -> Result<Vec<PublishOutcome>> {
    let ticket = shared.publisher.take();
    let call = write(shared, queue, batch, ticket.slot);
    let link = shared.commands.clone();
    let answer = shared.spawner.start(async move { repeat(&link, &call, deadline).await }).await?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(shared.explain(queue, error).await),
    };
    read(answer, batch.len())
}

/// A character for each message, and after a space how many wait if that is too many.
fn read(answer: Value, count: usize) -> Result<Vec<PublishOutcome>> {
    let mut answer = PUBLISH.bytes(answer)?;
    let waiting = answer.get(count + 1..).and_then(|rest| std::str::from_utf8(rest).ok()?.parse().ok()).unwrap_or(0);
    if answer.get(count) == Some(&b' ') {
        answer.truncate(count);
    }
    let outcome = |character| match character {
        b'A' => PublishOutcome::Accepted,
        b'F' => PublishOutcome::Full { waiting },
        _ => PublishOutcome::Duplicate,
    };
    Ok(PUBLISH.characters(Value::BulkString(answer), count)?.into_iter().map(outcome).collect())
}

async fn repeat(link: &Link, call: &Call, deadline: Instant) -> Result<Value, Failed> {
    let mut maybe_applied = false;
    let mut last = None;
    for attempt in 0.. {
        match timeout_at(deadline.into(), link.run(call)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failed)) => {
                maybe_applied |= failed.maybe_applied;
                let again = is_worth_repeating(&failed);
                let wait = pause(attempt);
                let over = Instant::now() + wait >= deadline;
                last = Some(failed);
                if !again || over {
                    break;
                }
                sleep(wait).await;
            }
            // The attempt that was cut short may have been sent.
            Err(_) => {
                maybe_applied |= link.is_open();
                break;
            }
        }
    }
    let failed =
        last.unwrap_or_else(|| Failed::unsent(Error::new(ErrorKind::Unavailable, "publish", "no answer in time")));
    Err(if maybe_applied { unknown(failed) } else { failed })
}

/// Whether the next attempt may fare better: not if the server has understood and refused.
fn is_worth_repeating(failed: &Failed) -> bool {
    matches!(failed.error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) || failed.reaction == Reaction::Reconnect
}

fn unknown(failed: Failed) -> Failed {
    if failed.error.kind() == ErrorKind::Unknown {
        return failed;
    }
    let text = format!("no answer to an earlier attempt, then: {}", failed.error.message());
    Failed { error: Error::new(ErrorKind::Unknown, "publish", text).with_source(failed.error), ..failed }
}

fn write(shared: &Shared, queue: &QueueName, batch: &[&Message], slot: Slot) -> Call {
    let bodies: Vec<Bytes> = batch.iter().map(|message| wire::encode(message)).collect();
    let plain = batch.iter().take_while(|message| is_plain(message)).count();
    let remembered = batch[plain..].iter().filter(|message| message.remember.is_some());
    let bytes: usize = bodies.iter().map(|body| body.len() + 40).sum();
    // All of a batch have the same.
    let limit = batch.first().and_then(|message| message.limit);
    let limited: &[Part] = if limit.is_some() { &LIMITED } else { &[] };
    let mut keys = Keys::new(&shared.config.prefix, queue);
    let more = |keys: &mut Keys, command: &mut Cmd| {
        command.arg(keys.publisher(&shared.publisher.client));
        for message in remembered.clone() {
            command.arg(keys.tomb(&message.id));
        }
        for part in limited {
            command.arg(keys.part(*part));
        }
    };
    let arguments = 6 + 5 * batch.len();
    let mut call = PUBLISH.begin(&mut keys, 1 + remembered.clone().count() + limited.len(), more, arguments, bytes);
    let command = &mut call.command;
    command.arg(slot.number).arg(slot.calls).arg(shared.remember_calls().as_secs()).arg(plain);
    command.arg(letters(&batch[plain..])).arg(write_limit(limit, &shared.config));
    for (place, (message, body)) in batch.iter().zip(&bodies).enumerate() {
        message.id.with_str(|id| {
            command.arg(id);
        });
        if place >= plain {
            write_schedule(command, message);
        }
        command.arg(&body[..]);
    }
    call
}

/// Due at once, of normal priority, with an id that windlass made and nobody uses again.
fn is_plain(message: &Message) -> bool {
    message.remember.is_none() && message.schedule == Schedule::Now && message.priority() == Priority::Normal
}

/// A letter for the priority of each message; nothing if all of them are normal.
fn letters(messages: &[&Message]) -> String {
    let letter = |priority: Priority| match priority {
        Priority::Critical => 'c',
        Priority::High => 'h',
        Priority::Normal => 'n',
        Priority::Low => 'l',
    };
    let priorities = || messages.iter().map(|message| message.priority());
    if priorities().all(|priority| priority == Priority::Normal) {
        return String::new();
    }
    priorities().map(letter).collect()
}

/// How many may wait, and what happens to the others; nothing if there is no limit.
fn write_limit(limit: Option<QueueLimit>, config: &RedisBrokerConfig) -> String {
    /// A number in a script has 53 bits.
    const MOST: u64 = 1 << 53;
    match limit {
        None => String::new(),
        Some(QueueLimit { max, overflow: Overflow::Reject }) => format!("R{}", max.min(MOST)),
        Some(QueueLimit { max, overflow: Overflow::DropOldest }) => {
            format!("D{} {} {}", max.min(MOST), millis(config.dead_ttl), config.dead_max)
        }
    }
}

fn write_schedule(command: &mut Cmd, message: &Message) {
    match message.schedule {
        Schedule::Now => command.arg("now").arg(0),
        Schedule::After(delay) => command.arg("after").arg(millis(delay)),
        Schedule::At(at) => {
            command.arg("at").arg(at.as_micros().div_euclid(1000) + i64::from(at.as_micros() % 1000 != 0))
        }
    };
    command.arg(u8::from(message.remember.is_some()));
}

/// Whole milliseconds, never less than the span.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
