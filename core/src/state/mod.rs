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
}

impl Progress {
    /// The number of the run that starts now: 1 for the first.
    pub const fn attempt(self) -> u32 {
        self.failures.saturating_add(1)
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
