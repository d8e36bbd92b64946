//! Dead letters are kept by number and age.
//!
//! RabbitMQ could do this itself, but with arguments of the queue, which cannot change any more: whoever
//! sets another number would be shut out. So those who add letters look after them, now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{QueueName, Result, Timestamp};

use crate::broker::Shared;
use crate::dead;
use crate::envelope::now;
use crate::reading::{MOST, Reading};

/// The number is looked at after this part of it was added, the age after this part of its limit.
const PART: u32 = 16;
/// The age is not looked at more often than this, unless letters are kept for a short time only.
const LEAST: Duration = Duration::from_secs(60);

/// The queues whose dead letters this process has added to.
#[derive(Debug, Default)]
pub(crate) struct Trims(Mutex<HashMap<QueueName, Trim>>);

#[derive(Debug, Default)]
struct Trim {
    /// Letters that were added since somebody looked.
    added: u64,
    /// When their age is to be looked at; at once if nobody has.
    next: Option<Instant>,
    is_running: bool,
}

impl Trim {
    fn is_old(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// Whether somebody is to look, who begins now.
    fn begin(&mut self, dead_max: u64, now: Instant) -> bool {
        let step = (dead_max / u64::from(PART)).max(1);
        let begins = !self.is_running && (self.added >= step || (self.added > 0 && self.is_old(now)));
        if begins {
            self.added = 0;
            self.is_running = true;
        }
        begins
    }
}

impl Trims {
    fn with<R>(&self, queue: &QueueName, act: impl FnOnce(&mut Trim) -> R) -> R {
        let mut trims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(trims.entry(queue.clone()).or_default())
    }
}

/// So many letters were added.
pub(crate) fn added(shared: &Arc<Shared>, queue: &QueueName, count: u64) {
    let begins = shared.trims.with(queue, |trim| {
        trim.added += count;
        trim.begin(shared.config.dead_max, Instant::now())
    });
    if begins {
        shared.spawner.detach(run(Arc::clone(shared), queue.clone()));
    }
}

async fn run(shared: Arc<Shared>, queue: QueueName) {
    loop {
        let looks_at_age = shared.trims.with(&queue, |trim| trim.is_old(Instant::now()));
        let looked = look(&shared, &queue, looks_at_age).await;
        let pause = shared.config.dead_ttl / PART;
        let pause = match looked {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(target: "windlass::broker::amqp", "dead letters are not trimmed: {error}");
                Some(pause.min(LEAST))
            }
        };
        let goes_on = shared.trims.with(&queue, |trim| {
            trim.is_running = false;
            if let Some(pause) = pause {
                trim.next = Some(Instant::now() + pause);
            }
            trim.begin(shared.config.dead_max, Instant::now())
        });
        if !goes_on {
            return;
        }
    }
}

/// Removes what there is beyond the number from the head; answers when to look at the age again, if it
/// was looked at.
async fn look(shared: &Shared, queue: &QueueName, looks_at_age: bool) -> Result<Option<Duration>> {
    let mut reading = Reading::begin(shared, queue).await?;
    let excess = reading.excess();
    let wanted = excess.saturating_add(usize::from(looks_at_age)).min(usize::from(MOST));
    let mut oldest = None;
    if wanted > 0 {
        reading.consume(u16::try_from(wanted).unwrap_or(MOST)).await?;
        let mut tags = Vec::with_capacity(wanted);
        while tags.len() < wanted
            && let Some((tag, letter)) = reading.pull().await?
        {
            tags.push(tag);
            oldest = Some((reading.is_too_old(&letter), letter.stamp.death));
        }
        // No more come, so what goes back is at most the one whose age is looked at.
        reading.stop().await?;
        tags.truncate(excess);
        reading.trim(&tags).await?;
    }
    reading.end().await?;
    if !looks_at_age {
        return Ok(None);
    }
    let ttl = shared.config.dead_ttl;
    let least = (ttl / PART).min(LEAST);
    match oldest {
        Some((true, _)) => dead::page(shared, queue, None, 0).await.map(|_| Some(least)),
        Some((false, Some((_, died)))) => Ok(Some(left(died, ttl).max(least))),
        _ => Ok(Some(ttl / PART)),
    }
}

/// How long until a letter is too old.
fn left(died: Timestamp, ttl: Duration) -> Duration {
    died.plus(ttl).since(Timestamp::from_micros(i64::try_from(now()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 160;

    #[test]
    fn the_first_letter_is_looked_after_and_then_each_sixteenth_of_all() {
        let now = Instant::now();
        let mut trim = Trim::default();
        assert!(!trim.begin(MAX, now), "nothing was added");
        trim.added = 1;
        assert!(trim.begin(MAX, now) && trim.added == 0);
        trim.added = 50;
        assert!(!trim.begin(MAX, now), "one at a time");
        trim.is_running = false;
        trim.next = Some(now + LEAST);
        trim.added = 9;
        assert!(!trim.begin(MAX, now));
        trim.added = 10;
        assert!(trim.begin(MAX, now));
        trim.is_running = false;
        trim.added = 1;
        assert!(!trim.begin(MAX, now) && trim.begin(MAX, now + LEAST), "their age is looked at in time");
        assert!(Trim { added: 1, next: Some(now + LEAST), is_running: false }.begin(1, now), "of few, each");
    }

    #[test]
    fn a_letter_has_what_is_left_of_its_time() {
        let now = Timestamp::from_micros(i64::try_from(now()).unwrap());
        assert!(left(now, LEAST) > LEAST / 2 && left(now, LEAST) <= LEAST);
        assert_eq!(left(Timestamp::default(), LEAST), Duration::ZERO);
    }
}
