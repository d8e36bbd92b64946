//! What has come from the server and what has become of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use lapin::Channel;
use lapin::types::ShortString;
use tokio::time::Instant;
use windlass_core::{Priority, Progress, Reserve, TaskId, Timestamp, Token, limits};

use crate::buffer::Buffer;
use crate::connection::Live;
use crate::envelope::{Letter, Stamp};
use crate::level::Slot;
use crate::route::{Outgoing, Target};
use crate::tags::Tags;

/// How long a fetch waits for the first message of a level that was not consumed before.
const FIRST: Duration = Duration::from_millis(30);
/// How long it waits for another once there is one: a more urgent one may come a moment later.
const MORE: Duration = Duration::from_millis(10);
/// How long it waits at most; so long also for what it has given back itself.
const LONGEST: Duration = Duration::from_millis(200);
/// Settlements of which some part failed are remembered, so that the call can be repeated.
const FINISHED: usize = 10_000;

/// A message that the server has given to us.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) letter: Letter,
    pub(crate) tag: u64,
    pub(crate) token: Token,
    pub(crate) progress: Progress,
    pub(crate) level: Priority,
    /// The queue that it came from.
    pub(crate) slot: Slot,
    /// When it came, or was given back here.
    pub(crate) since: Instant,
}

impl Held {
    /// A copy of it for another queue.
    pub(crate) fn copy(&self, target: Target, progress: Progress) -> Outgoing {
        let level = matches!(target, Target::Slot(_, Slot::Front)).then_some(self.level);
        let stamp = Stamp { level, ..Stamp::copy(self.token, progress) };
        Outgoing::new(target, &self.letter.id, &stamp, self.letter.bytes.clone())
    }

    /// The copy that is kept among the dead letters, with its priority, reason and time.
    pub(crate) fn last_copy(&self, target: Target, progress: Progress, death: (String, Timestamp)) -> Outgoing {
        let stamp = Stamp { level: Some(self.level), death: Some(death), ..Stamp::copy(self.token, progress) };
        Outgoing::new(target, &self.letter.id, &stamp, self.letter.bytes.clone())
    }
}

pub(crate) type Claim = (TaskId, Token);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) open: Option<Open>,
    pub(crate) epochs: u64,
    pub(crate) consumers: [Option<ShortString>; 5],
    /// Levels that are left out, because their queue does not answer.
    pub(crate) absent: [bool; 5],
    pub(crate) prefetch: u16,
    pub(crate) buffer: Buffer,
    pub(crate) claims: HashMap<Claim, Held>,
    pub(crate) tags: Tags,
    pub(crate) sweeping: bool,
    /// Fetches that are going on: what they are about to take is not stale.
    pub(crate) fetching: usize,
    /// How many messages were given back and have not come again since.
    pub(crate) fronted: usize,
    /// When something came last, or the channel was opened.
    pub(crate) heard: Option<Instant>,
    pub(crate) arriving: Option<Arriving>,
    finished: (HashSet<Claim>, VecDeque<Claim>),
}

/// The time in which levels that are only just consumed bring what they hold.
#[derive(Debug)]
pub(crate) struct Arriving {
    since: Instant,
    last: Option<Instant>,
}

impl Arriving {
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now(), last: None }
    }

    pub(crate) fn came(&mut self) {
        self.last = Some(Instant::now());
    }

    pub(crate) fn until(&self, expects_front: bool) -> Instant {
        match self.last {
            _ if expects_front => self.since + LONGEST,
            None => self.since + FIRST,
            Some(last) => (last + MORE).min(self.since + LONGEST),
        }
    }
}

/// A channel that lives as far as we know. What it has delivered is void when it ends.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) epoch: u64,
    pub(crate) live: Live,
    pub(crate) channel: Channel,
}

impl State {
    /// Whether nothing is held, and nothing has come for so long.
    pub(crate) fn is_quiet(&self, span: Duration) -> bool {
        let empty = self.claims.is_empty() && self.buffer.is_empty() && self.open.is_some();
        empty && self.heard.is_some_and(|heard| heard.elapsed() >= span)
    }

    pub(crate) fn epoch(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.epoch)
    }

    /// Whether the channel that a claim came from still lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.channel.status().connected())
    }

    pub(crate) fn is_open(&self, epoch: u64) -> bool {
        self.epoch() == Some(epoch)
    }

    pub(crate) fn is_consumer(&self, epoch: u64, slot: Slot, tag: &ShortString) -> bool {
        self.is_open(epoch) && self.consumers[slot.index()].as_ref() == Some(tag)
    }

    /// Whether every level is consumed with room for `wanted`.
    pub(crate) fn is_ready(&self, wanted: u16) -> bool {
        self.is_alive() && self.prefetch >= wanted && Slot::ALL.into_iter().all(|slot| self.is_consumed(slot))
    }

    /// Whether nothing is to be done to consume a level.
    pub(crate) fn is_consumed(&self, slot: Slot) -> bool {
        self.absent[slot.index()] || self.consumers[slot.index()].is_some()
    }

    /// Whether every level has brought what it has.
    pub(crate) fn is_complete(&self) -> bool {
        let prefetch = usize::from(self.prefetch);
        self.is_ready(0) && Slot::ALL.into_iter().all(|slot| self.tags.count(slot) < prefetch)
    }

    /// Whether a fetch of `max` needs nothing but what has come already.
    pub(crate) fn can_serve(&self, max: usize, reserve: Reserve, wanted: u16) -> bool {
        if !self.is_alive() || self.arriving.is_some() {
            return false;
        }
        // A level that places are kept for may hold something too.
        let urgent = if self.buffer.holds(reserve) { self.buffer.more_urgent_than_all(max) } else { Slot::ALL.len() };
        let is_fresh = Slot::ALL[..urgent].iter().all(|slot| self.is_consumed(*slot));
        is_fresh && self.prefetch >= wanted
    }

    /// The most urgent that have come become claims, with what places are kept for.
    pub(crate) fn take(&mut self, max: usize, reserve: Reserve) -> Vec<(Claim, Progress, bytes::Bytes)> {
        let mut taken = Vec::with_capacity(max.min(self.buffer.len()));
        let mut shares = self.buffer.shares(max, reserve);
        while let Some(held) = self.buffer.pop(&mut shares) {
            let claim = (held.letter.id.clone(), held.token);
            taken.push((claim.clone(), held.progress, held.letter.bytes.clone()));
            self.claims.insert(claim, held);
        }
        taken
    }

    pub(crate) fn begin_fetch(&mut self) {
        self.fetching += 1;
    }

    pub(crate) fn end_fetch(&mut self) {
        self.fetching -= 1;
    }

    /// Until when something more urgent may be on its way, because levels are only just consumed.
    pub(crate) fn incomplete_until(&mut self) -> Option<Instant> {
        let until = self.arriving.as_ref()?.until(self.fronted > 0);
        if until > Instant::now() && self.buffer.len() < limits::BATCH_ITEMS {
            return Some(until);
        }
        self.arriving = None;
        self.fronted = 0;
        None
    }

    pub(crate) fn is_finished(&self, claim: &Claim) -> bool {
        self.finished.0.contains(claim)
    }

    pub(crate) fn finish(&mut self, claims: impl IntoIterator<Item = Claim>) {
        for claim in claims {
            if self.finished.0.insert(claim.clone()) {
                self.finished.1.push_back(claim);
            }
        }
        while self.finished.1.len() > FINISHED
            && let Some(oldest) = self.finished.1.pop_front()
        {
            self.finished.0.remove(&oldest);
        }
    }
}

impl Held {
    /// The same claim once more, without the server: greater token, waiting from now.
    pub(crate) fn again(mut self) -> Self {
        self.token = Token(self.token.0 + 1);
        self.since = Instant::now();
        self
    }
}
