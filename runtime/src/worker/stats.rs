use std::sync::atomic::{AtomicU64, Ordering};

use windlass_core::{Disposition, State};

use super::stuck::Stuck;

/// What a worker has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Tasks that ended with a result.
    pub succeeded: u64,
    /// Tasks that failed for good; they are among the dead letters.
    pub failed: u64,
    /// Runs that failed and are retried.
    pub retried: u64,
    /// Runs that asked to run later, and messages that this worker could not handle yet.
    pub postponed: u64,
    /// Tasks that ended as cancelled.
    pub cancelled: u64,
    /// Tasks that expired before they were started.
    pub expired: u64,
    /// Tasks that were given back unfinished at shutdown.
    pub released: u64,
    /// Runs whose claim was lost; their results were discarded.
    pub lost: u64,
    /// Tasks that could not be settled or given back in time; they run again when their lease is over.
    pub abandoned: u64,
    /// Blocking tasks that were given up (their time was over, or they were cancelled) and still run: each
    /// keeps its thread and its place until it ends by itself.
    pub stuck: u64,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { succeeded, failed, retried, postponed, cancelled, expired, released, lost, abandoned, stuck } = self;
        write!(f, "{succeeded} succeeded")?;
        let rest = [
            (failed, "failed"),
            (retried, "retried"),
            (postponed, "postponed"),
            (cancelled, "cancelled"),
            (expired, "expired"),
            (released, "released"),
            (lost, "lost"),
            (abandoned, "abandoned"),
            (stuck, "stuck"),
        ];
        for (count, name) in rest {
            if *count > 0 {
                write!(f, ", {count} {name}")?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Stats {
    succeeded: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    postponed: AtomicU64,
    cancelled: AtomicU64,
    expired: AtomicU64,
    released: AtomicU64,
    lost: AtomicU64,
    pub(super) stuck: Stuck,
}

impl Stats {
    /// Counts what the broker was told and has taken.
    pub(super) fn count(&self, state: State) {
        let counter = match state {
            State::Succeeded => &self.succeeded,
            State::Failed => &self.failed,
            State::Cancelled => &self.cancelled,
            State::Expired => &self.expired,
            State::Retrying => &self.retried,
            State::Scheduled => &self.postponed,
            State::Queued | State::Running => &self.released,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report(&self, abandoned: usize) -> Report {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            succeeded: read(&self.succeeded),
            failed: read(&self.failed),
            retried: read(&self.retried),
            postponed: read(&self.postponed),
            cancelled: read(&self.cancelled),
            expired: read(&self.expired),
            released: read(&self.released),
            lost: read(&self.lost),
            abandoned: abandoned as u64,
            stuck: read(&self.stuck),
        }
    }
}

/// For texts: what became of a task.
pub(super) fn describe(disposition: Option<Disposition>) -> &'static str {
    match disposition {
        Some(Disposition::DeadLetter) => "dead-lettered",
        Some(Disposition::Requeue { .. }) => "runs again later",
        Some(Disposition::Release) => "given back",
        Some(Disposition::Acknowledge) | None => "finished",
    }
}
