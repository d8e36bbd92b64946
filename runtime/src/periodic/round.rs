//! What a scheduler knows, and one round over entries whose time has come: claim, publish, clear.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::periodic::{AHEAD, Claim, Entry, Look, due};
use windlass_core::{Result, Timestamp, WriteOutcome};

use super::agenda::Agenda;
use super::calendar::Calendar;
use super::shelf::{Shelf, Stored};
use crate::client::Client;

/// What a scheduler knows and does.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) client: Client,
    pub(super) shelf: Shelf,
    pub(super) agenda: Agenda,
    /// Claims of ours that are not known to be cleared, and whether their ticks are published.
    mine: HashMap<String, (u64, bool)>,
    /// Claims of others, and since when they are seen to stand.
    others: HashMap<String, (u64, Instant)>,
}

/// What is done about one entry.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) entry: Entry,
    /// When it was claimed by somebody else, or by us before: its tasks may have ended already.
    pub(super) again: bool,
    left_out: bool,
}

/// What a look at an entry leads to.
enum Step {
    /// It is written, and then published if it has a claim.
    Write(Box<Plan>),
    /// Nothing now; it is looked at again at that time.
    Rest(Option<Timestamp>),
}

impl Desk {
    pub(super) fn new(client: Client, shelf: Shelf) -> Self {
        Self { client, shelf, agenda: Agenda::default(), mine: HashMap::new(), others: HashMap::new() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.client.clock().now()
    }

    /// Learns an entry that may have changed: when it is to be looked at.
    pub(super) fn learn(&mut self, name: &str, Stored { version, entry }: &Stored) {
        let now = self.now();
        if entry.as_ref().is_ok_and(|entry| entry.last > now.plus(AHEAD)) {
            return self.agenda.set(name, *version, Some(now));
        }
        if self.agenda.knows(name, *version) {
            return;
        }
        let wake = match entry.as_ref().map_err(ToString::to_string).and_then(|entry| self.wake(entry)) {
            Ok(wake) => wake,
            Err(error) => {
                tracing::warn!(target: "windlass::periodic", entry = name, error, "it does not come: this scheduler cannot read it");
                None
            }
        };
        self.agenda.set(name, *version, wake);
    }

    /// When an entry is to be looked at.
    fn wake(&self, entry: &Entry) -> Result<Option<Timestamp>, String> {
        if entry.claim.is_some() {
            return Ok(Some(self.now()));
        }
        if entry.paused {
            return Ok(None);
        }
        let calendar = Calendar::of(&entry.cadence).map_err(|error| error.to_string())?;
        Ok(calendar.after(entry.last))
    }

    fn forget(&mut self, name: &str) {
        self.agenda.remove(name);
        self.mine.remove(name);
        self.others.remove(name);
    }

    /// Sees to these entries.
    ///
    /// # Errors
    /// Those of the stores; what was begun is taken up again by the next call, or by another scheduler.
    pub(super) async fn see_to(&mut self, names: &[String]) -> Result<()> {
        let found = self.shelf.read(names).await?;
        let (begun, now) = (Instant::now(), self.now());
        let mut plans = Vec::new();
        for (name, stored) in names.iter().zip(found) {
            let Some(stored) = stored else {
                self.forget(name);
                continue;
            };
            match stored.entry.as_ref().ok().map(|entry| self.look(name, stored.version, entry, now)) {
                Some(Step::Write(plan)) => plans.push(*plan),
                Some(Step::Rest(wake)) => self.agenda.set(name, stored.version, wake),
                None => self.learn(name, &stored),
            }
        }
        let claimed = self.claim(plans).await?;
        self.publish(claimed, begun).await
    }

    fn look(&mut self, name: &str, version: u64, entry: &Entry, now: Timestamp) -> Step {
        let plan = |entry: Entry, again, left_out| {
            Step::Write(Box::new(Plan { name: name.to_owned(), version, entry, again, left_out }))
        };
        if let Some(claim) = &entry.claim {
            return match self.mine.get(name).copied() {
                Some((id, true)) if id == claim.id => plan(Entry { claim: None, ..entry.clone() }, true, false),
                mine => {
                    let is_mine = mine.is_some_and(|(id, _)| id == claim.id);
                    let left = if is_mine { Duration::ZERO } else { self.left_alone(name, claim) };
                    if !left.is_zero() {
                        return Step::Rest(Some(now.plus(left)));
                    }
                    self.others.remove(name);
                    let claim = Claim { id: fastrand::u64(..), at: now, ..claim.clone() };
                    plan(Entry { claim: Some(claim), ..entry.clone() }, true, false)
                }
            };
        }
        self.others.remove(name);
        self.mine.remove(name);
        if entry.paused {
            return Step::Rest(None);
        }
        let Ok(calendar) = Calendar::of(&entry.cadence) else { return Step::Rest(None) };
        let Look { ticks, last, next, left_out } = due(entry.missed, entry.last, now, |at| calendar.after(at));
        if last == entry.last {
            return Step::Rest(next);
        }
        if last < entry.last {
            tracing::warn!(target: "windlass::periodic", entry = name, last = entry.last.as_micros(), "its last tick is more than a day ahead: a clock was wrong; it goes on from now");
        }
        let queue = entry.message.queue.clone();
        let claim = (!ticks.is_empty()).then(|| Claim { id: fastrand::u64(..), at: now, ticks, queue });
        plan(Entry { last, claim, ..entry.clone() }, false, left_out)
    }

    /// Entries whose claims nobody sees to, whatever the clock on the wall shows.
    pub(super) fn orphans(&self) -> impl Iterator<Item = String> + '_ {
        let stands = |(name, (_, since)): (&String, &(u64, Instant))| {
            (since.elapsed() >= Claim::TAKE_OVER).then(|| name.clone())
        };
        self.others.iter().filter_map(stands)
    }

    /// How long a claim of somebody else is still left alone. It counts from when it was first seen here,
    /// by no other clock than ours.
    fn left_alone(&mut self, name: &str, claim: &Claim) -> Duration {
        let seen = self.others.entry(name.to_owned()).or_insert_with(|| (claim.id, Instant::now()));
        if seen.0 != claim.id {
            *seen = (claim.id, Instant::now());
        }
        Claim::TAKE_OVER.saturating_sub(seen.1.elapsed())
    }

    /// Writes what is planned; the plans that are ours now, with their new versions.
    async fn claim(&mut self, mut plans: Vec<Plan>) -> Result<Vec<Plan>> {
        if plans.is_empty() {
            return Ok(plans);
        }
        for Plan { name, entry, .. } in &plans {
            // Noted before it is written: if no answer comes, it may be ours all the same.
            if let Some(claim) = &entry.claim {
                self.mine.insert(name.clone(), (claim.id, false));
            }
        }
        let changes: Vec<(&str, u64, &Entry)> =
            plans.iter().map(|plan| (plan.name.as_str(), plan.version, &plan.entry)).collect();
        let outcomes = self.shelf.write(&changes).await?;
        let mut written = outcomes.into_iter();
        plans.retain_mut(|plan| match written.next() {
            Some(WriteOutcome::Written(version)) => {
                plan.version = version;
                true
            }
            _ => false,
        });
        for Plan { name, version, entry, left_out, .. } in &plans {
            if *left_out {
                tracing::warn!(target: "windlass::periodic", entry = name, policy = ?entry.missed, "ticks were missed and are left out");
            }
            self.learn(name, &Stored { version: *version, entry: Ok(entry.clone()) });
            if entry.claim.is_none() {
                self.mine.remove(name);
            }
        }
        plans.retain(|plan| plan.entry.claim.is_some());
        Ok(plans)
    }

    /// Takes claims back whose ticks are published. Those of entries that were changed meanwhile are
    /// found by the next look.
    pub(super) async fn clear(&mut self, mut plans: Vec<Plan>) -> Result<()> {
        for plan in &mut plans {
            let claim = plan.entry.claim.take();
            if let Some(claim) = claim {
                self.mine.insert(plan.name.clone(), (claim.id, true));
            }
        }
        self.claim(plans).await.map(drop)
    }
}
