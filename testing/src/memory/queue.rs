//! One queue: where each message is, and the steps that move it. Every step is O(log n).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use windlass_core::broker::Overflow;
use windlass_core::limits::BATCH_ITEMS;
use windlass_core::message::{Schedule, wire};
use windlass_core::{
    Disposition, Location, Priority, Progress, PublishOutcome, QueueLimit, Replay, Reserve, Settlement, TaskId,
    Timestamp, Token,
};

/// How long dead letters are kept.
const DEAD_TTL: Duration = Duration::from_secs(30 * 86_400);

/// A place in one of the orders of a queue by time; the number tells equal times apart.
type Key = (Timestamp, i64);

/// A place in the line of what is due: the most urgent first, of the same priority the smallest number,
/// which can be negative.
type Turn = (Reverse<Priority>, i64);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) bytes: Bytes,
    pub(super) progress: Progress,
    priority: Priority,
    /// Its number in the order of publishing, over all queues.
    pub(super) published: u64,
    pub(super) place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    Ready(Turn),
    Delayed(Key),
    Claimed(Key, Token),
    Dead(Key, String),
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: HashMap<TaskId, Entry>,
    /// Messages that are due.
    ready: BTreeMap<Turn, TaskId>,
    /// By due time.
    delayed: BTreeMap<Key, TaskId>,
    /// By the end of the lease.
    claimed: BTreeMap<Key, TaskId>,
    /// By the time of death.
    dead: BTreeMap<Key, TaskId>,
    /// Ids of finished tasks that are remembered, and until when.
    remembered: HashMap<TaskId, Key>,
    forgotten: BTreeMap<Key, TaskId>,
    sequence: i64,
}

/// How many messages are in which place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// They wait for a worker.
    pub queued: usize,
    /// They wait for their time.
    pub scheduled: usize,
    /// A worker has them.
    pub running: usize,
    /// They are dead letters.
    pub dead: usize,
}

impl Queue {
    pub(super) fn count(&self, counts: &mut Counts) {
        counts.queued += self.ready.len();
        counts.scheduled += self.delayed.len();
        counts.running += self.claimed.len();
        counts.dead += self.dead.len();
    }

    fn next(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.remembered.is_empty()
    }

    /// Moves what has become due, takes back claims that ran out, and drops what is too old; so
    /// much at most that the step stays short, the rest follows with the next call.
    pub(super) fn turn(&mut self, now: Timestamp) {
        for id in due(&mut self.delayed, now) {
            self.make_ready(&id);
        }
        // The last goes first, so that the oldest claim ends up at the head.
        for id in due(&mut self.claimed, now).into_iter().rev() {
            let number = -self.next();
            let entry = self.entries.get_mut(&id).expect("what is claimed is there");
            entry.progress.losses = entry.progress.losses.saturating_add(1);
            self.line_up(&id, number);
        }
        for id in due(&mut self.forgotten, now) {
            self.remembered.remove(&id);
        }
        let oldest = Timestamp::from_micros(now.as_micros().saturating_sub(micros(DEAD_TTL)));
        for id in due(&mut self.dead, oldest) {
            self.entries.remove(&id);
        }
    }

    /// Puts a message at the end of its level, unless its id is there already or the queue is full.
    pub(super) fn publish(
        &mut self,
        id: TaskId,
        entry: Entry,
        schedule: Schedule,
        limit: Option<QueueLimit>,
        now: Timestamp,
    ) -> PublishOutcome {
        if self.entries.contains_key(&id) || self.remembered.contains_key(&id) {
            return PublishOutcome::Duplicate;
        }
        if let Some(limit) = limit
            && limit.overflow == Overflow::Reject
            && self.count_waiting() >= limit.max
        {
            return PublishOutcome::Full { waiting: self.count_waiting() };
        }
        self.entries.insert(id.clone(), entry);
        let due = match schedule {
            Schedule::Now => now,
            Schedule::After(delay) => now.plus(delay),
            Schedule::At(at) => at,
        };
        self.offer(&id, due, now);
        limit.into_iter().for_each(|limit| self.drop_beyond(limit.max, now));
        PublishOutcome::Accepted
    }

    /// Buries what waits beyond `max`: the oldest of the least urgent that are due, which can be the one
    /// that came last; only if nothing is due, what would become due next.
    fn drop_beyond(&mut self, max: u64, now: Timestamp) {
        // What was given back or replayed can be more than the limit; it leaves in several steps.
        for _ in 0..BATCH_ITEMS {
            if self.count_waiting() <= max {
                return;
            }
            let least = self.ready.last_key_value().map(|(turn, _)| turn.0);
            let due = least.and_then(|least| self.ready.range((least, i64::MIN)..).next());
            let Some(id) = due.map(|(_, id)| id).or_else(|| self.delayed.values().next()).cloned() else { return };
            self.bury(&id, format!("the queue is full: at most {max} may wait"), now);
        }
    }

    fn count_waiting(&self) -> u64 {
        u64::try_from(self.ready.len() + self.delayed.len()).unwrap_or(u64::MAX)
    }

    fn bury(&mut self, id: &TaskId, reason: String, now: Timestamp) {
        self.leave(id);
        let key = (now, self.next());
        self.dead.insert(key, id.clone());
        self.move_to(id, Place::Dead(key, reason));
    }

    /// Claims up to `max` messages, the most urgent first; what is kept for the less urgent is taken before
    /// the rest.
    pub(super) fn claim(
        &mut self,
        max: usize,
        reserve: Reserve,
        until: Timestamp,
        mut token: impl FnMut() -> Token,
    ) -> Vec<(TaskId, Token, Progress, Bytes)> {
        let mut claims = Vec::new();
        for id in self.take(max, reserve) {
            let key = (until, self.next());
            let token = token();
            let entry = self.entries.get_mut(&id).expect("what is ready is there");
            entry.place = Place::Claimed(key, token);
            claims.push((id.clone(), token, entry.progress, entry.bytes.clone()));
            self.claimed.insert(key, id);
        }
        claims
    }

    /// Takes up to `max` messages out of the line, and puts them in its order.
    fn take(&mut self, max: usize, reserve: Reserve) -> Vec<TaskId> {
        let mut taken: Vec<(Turn, TaskId)> = Vec::new();
        for priority in Priority::ALL.into_iter().rev().filter(|priority| reserve.of(*priority) > 0) {
            let places = reserve.of(priority).min(max - taken.len());
            let line = self.ready.range((Reverse(priority), i64::MIN)..=(Reverse(priority), i64::MAX));
            let turns: Vec<Turn> = line.take(places).map(|(turn, _)| *turn).collect();
            taken.extend(turns.iter().filter_map(|turn| self.ready.remove_entry(turn)));
        }
        while taken.len() < max
            && let Some(first) = self.ready.pop_first()
        {
            taken.push(first);
        }
        if !reserve.is_none() {
            taken.sort_by_key(|(turn, _)| *turn);
        }
        taken.into_iter().map(|(_, id)| id).collect()
    }

    /// Moves the end of a lease; answers whether the claim is still this one.
    pub(super) fn extend(&mut self, id: &TaskId, token: Token, until: Timestamp) -> bool {
        if !self.holds(id, token) {
            return false;
        }
        self.leave(id);
        let key = (until, self.next());
        self.claimed.insert(key, id.clone());
        self.move_to(id, Place::Claimed(key, token));
        true
    }

    /// Does what `settlement` says; answers whether the claim was still this one.
    pub(super) fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> bool {
        let id = &settlement.receipt.id;
        if !self.holds(id, settlement.receipt.token) {
            return false;
        }
        self.leave(id);
        self.entries.get_mut(id).expect("what is held is there").progress = settlement.progress;
        match settlement.disposition {
            Disposition::Acknowledge => {
                self.entries.remove(id);
                if let Some(span) = settlement.remember {
                    self.remember(id, now.plus(span));
                }
            }
            Disposition::Requeue { after } => self.offer(id, now.plus(after), now),
            Disposition::Release => {
                let number = -self.next();
                self.line_up(id, number);
            }
            Disposition::DeadLetter => self.bury(id, settlement.reason.clone().unwrap_or_default(), now),
        }
        true
    }

    /// Removes a message that waits or is dead.
    pub(super) fn remove(&mut self, id: &TaskId) {
        self.leave(id);
        self.entries.remove(id);
    }

    /// Puts a dead letter back with fresh counts, edited or not; answers whether it was one.
    pub(super) fn replay(&mut self, letter: &Replay) -> bool {
        let id = &letter.id;
        if !self.is_dead(id) {
            return false;
        }
        self.leave(id);
        let entry = self.entries.get_mut(id).expect("what is dead is there");
        entry.progress = Progress::default();
        if let Some(edited) = &letter.edited {
            entry.bytes = wire::encode(edited);
            entry.priority = edited.priority();
        }
        self.make_ready(id);
        true
    }

    /// Removes a dead letter; answers whether it was one.
    pub(super) fn discard(&mut self, id: &TaskId) -> bool {
        let dead = self.is_dead(id);
        if dead {
            self.remove(id);
        }
        dead
    }

    fn is_dead(&self, id: &TaskId) -> bool {
        matches!(self.entries.get(id), Some(Entry { place: Place::Dead(..), .. }))
    }

    /// Dead letters after the one with number `after`, the oldest first.
    pub(super) fn dead(&self, after: Option<Key>) -> impl Iterator<Item = (Key, &TaskId, &Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.dead.range((from, Unbounded)).map(|(key, id)| (*key, id, &self.entries[id]))
    }

    pub(super) fn get(&self, id: &TaskId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Messages that wait, in no order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&TaskId, &Entry)> {
        self.entries.iter().filter(|(_, entry)| matches!(entry.place, Place::Ready(_) | Place::Delayed(_)))
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When something will become ready by itself.
    pub(super) fn next_event(&self) -> Option<Timestamp> {
        let first = |order: &BTreeMap<Key, TaskId>| order.first_key_value().map(|((at, _), _)| *at);
        first(&self.delayed).into_iter().chain(first(&self.claimed)).min()
    }

    fn holds(&self, id: &TaskId, token: Token) -> bool {
        matches!(self.entries.get(id), Some(Entry { place: Place::Claimed(_, held), .. }) if *held == token)
    }

    /// Puts a message where it waits until `due`.
    fn offer(&mut self, id: &TaskId, due: Timestamp, now: Timestamp) {
        if due <= now {
            return self.make_ready(id);
        }
        let key = (due, self.next());
        self.delayed.insert(key, id.clone());
        self.move_to(id, Place::Delayed(key));
    }

    /// Puts a message at the end of its level.
    fn make_ready(&mut self, id: &TaskId) {
        let number = self.next();
        self.line_up(id, number);
    }

    fn line_up(&mut self, id: &TaskId, number: i64) {
        let entry = self.entries.get_mut(id).expect("only what is there lines up");
        let turn = (Reverse(entry.priority), number);
        entry.place = Place::Ready(turn);
        self.ready.insert(turn, id.clone());
    }

    fn move_to(&mut self, id: &TaskId, place: Place) {
        self.entries.get_mut(id).expect("only what is there is moved").place = place;
    }

    /// Takes a message out of the order that its place belongs to.
    fn leave(&mut self, id: &TaskId) {
        match self.entries.get(id).map(|entry| entry.place.clone()) {
            Some(Place::Ready(turn)) => self.ready.remove(&turn),
            Some(Place::Delayed(key)) => self.delayed.remove(&key),
            Some(Place::Claimed(key, _)) => self.claimed.remove(&key),
            Some(Place::Dead(key, _)) => self.dead.remove(&key),
            None => None,
        };
    }

    fn remember(&mut self, id: &TaskId, until: Timestamp) {
        let key = (until, self.next());
        self.remembered.insert(id.clone(), key);
        self.forgotten.insert(key, id.clone());
    }
}

impl Entry {
    /// A fresh message, which is not in any order yet.
    pub(super) fn new(bytes: Bytes, priority: Priority, published: u64) -> Self {
        let place = Place::Ready((Reverse(priority), 0));
        Self { bytes, progress: Progress::default(), priority, published, place }
    }

    pub(super) fn location(&self) -> Location {
        match self.place {
            Place::Ready(_) => Location::Queued,
            Place::Delayed((due, _)) => Location::Scheduled { due, retrying: self.progress.failures > 0 },
            Place::Claimed(_, token) => Location::Running { token },
            Place::Dead(..) => Location::Dead,
        }
    }
}

/// Takes what lies at or before `now` out of `order`, the earliest first.
fn due(order: &mut BTreeMap<Key, TaskId>, now: Timestamp) -> Vec<TaskId> {
    let mut ids = Vec::new();
    while ids.len() < BATCH_ITEMS
        && let Some(first) = order.first_entry()
        && first.key().0 <= now
    {
        ids.push(first.remove());
    }
    ids
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
