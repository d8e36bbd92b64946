//! The life of a task.
//!
//! ```text
//!            ┌────────────┐  due   ┌────────┐ claimed ┌─────────┐ succeeded ┌───────────┐
//! enqueue ──▶│ scheduled  │───────▶│ queued │────────▶│ running │──────────▶│ succeeded │
//!            └────────────┘        └────────┘         └─────────┘           └───────────┘
//!                  ▲ snoozed, parked  ▲  ▲ lease lost,  │  │ │ no retry left ┌────────┐
//!                  └──────────────────┼──┴─ released ───┘  │ └─────────────▶│ failed │──▶ replayed: queued
//!                       due ┌─────────┴┐     failed        │                └────────┘
//!                           │ retrying │◀──────────────────┘
//!                           └──────────┘
//! cancelled: from any state that is not final;  expired: from scheduled, queued or retrying
//! ```
//!
//! The state changes in one place: [`transition`].

mod effect;
mod event;
mod transition;

use serde::{Deserialize, Serialize};

pub use effect::Effects;
pub use event::Event;
pub use transition::{IllegalTransition, Transition, transition};

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Failed and waits for its next run.
    Retrying,
    /// Ended with a result. Final.
    Succeeded,
    /// Ended with a failure; the message is among the dead letters. Final unless replayed.
    Failed,
    /// Ended because somebody asked for it. Final.
    Cancelled,
    /// Was not started in time. Final.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Whether nothing more will happen by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a task has been through; the broker keeps it beside the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Runs that ended with an error, a timeout or a panic.
    pub failures: u32,
    /// Workers that were lost while they had it.
    pub losses: u32,
    /// Times that it asked to run later.
    pub snoozes: u32,
    /// Times that it was put back because no worker could handle it.
    pub parks: u32,
    /// The number of retries that the task has set for itself, in place of what was asked for.
    pub max_retries: Option<u32>,
}

impl Progress {
    /// The number of the run that starts now: 1 for the first.
    pub const fn attempt(self) -> u32 {
        self.failures.saturating_add(1)
    }

    /// The number of retries in force: what the task has set for itself, or else what was asked for.
    pub const fn retries(self, asked: u32) -> u32 {
        match self.max_retries {
            Some(retries) => retries,
            None => asked,
        }
    }

    /// The retries that are left to the run that is under way.
    pub const fn retries_left(self, asked: u32) -> u32 {
        self.retries(asked).saturating_sub(self.failures)
    }

    /// The same, after the task has said during a run how many retries may follow it.
    #[must_use]
    pub const fn with_retries_left(self, left: u32) -> Self {
        Self { max_retries: Some(self.failures.saturating_add(left)), ..self }
    }

    /// The place of the run that is under way among those that did not end well, for the history of a
    /// task: failures and losses before it.
    pub const fn place(self) -> u32 {
        self.failures.saturating_add(self.losses)
    }
}

/// As it is kept beside a message: failures, losses, snoozes and parks, and the number of retries if the
/// task has set it; nothing at all if nothing has happened, as for nearly every message.
impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { failures, losses, snoozes, parks, max_retries } = self;
        if *self == Self::default() {
            return Ok(());
        }
        write!(f, "{failures} {losses} {snoozes} {parks}")?;
        max_retries.map_or(Ok(()), |retries| write!(f, " {retries}"))
    }
}

impl Progress {
    /// Reads what `Display` has written; what cannot be read counts as zero.
    pub fn read(text: &str) -> Self {
        let mut numbers = text.split(' ').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let mut count = || next().unwrap_or_default();
        let (failures, losses, snoozes, parks) = (count(), count(), count(), count());
        Self { failures, losses, snoozes, parks, max_retries: next() }
    }
}

/// A state and the progress that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is.
    pub state: State,
    /// What it has been through.
    pub progress: Progress,
}
