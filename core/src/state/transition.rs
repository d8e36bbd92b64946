use std::time::Duration;

use super::{Effects, Event, Progress, Snapshot, State};
use crate::Timestamp;
use crate::broker::Disposition;
use crate::policy::{Decision, ExecutionPolicy, decide};

/// A change of state and what must be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The new state.
    pub next: Snapshot,
    /// What must be done.
    pub effects: Effects,
}

/// An event that cannot happen in that state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {} cannot be {event:?}", state.as_str())]
pub struct IllegalTransition {
    /// The state it was in.
    pub state: State,
    /// What was said to have happened.
    pub event: Event,
}

/// The only place where the state of a task changes.
///
/// `now` and `random` (0 to 1) are inputs, so the same inputs give the same answer for ever.
///
/// # Errors
/// [`IllegalTransition`] if `event` cannot happen in the state of `snapshot`.
pub fn transition(
    snapshot: Snapshot,
    event: Event,
    policy: &ExecutionPolicy,
    now: Timestamp,
    random: f64,
) -> Result<Transition, IllegalTransition> {
    use State::{Cancelled, Expired, Failed, Queued, Retrying, Running, Scheduled, Succeeded};

    let Snapshot { state, progress } = snapshot;
    let made = match (state, event) {
        (Scheduled | Retrying, Event::Due) => quiet(Queued, progress),

        (Queued, Event::Claimed { begun: true }) if progress.losses >= policy.max_losses => dead(progress),
        (Queued, Event::Claimed { .. }) => quiet(Running, progress),
        (Queued, Event::Unhandled) => park(progress, policy),
        (Queued, Event::Undecodable) => dead(progress),

        (Running, Event::Succeeded) => done(Succeeded, progress),
        (Running, Event::Failed(class)) => match decide(class, progress, policy, now, random) {
            Decision::Retry(pause) => later(Retrying, failed(progress), pause, true),
            Decision::GiveUp => dead(failed(progress)),
        },
        (Running, Event::Snoozed(_)) if progress.snoozes >= policy.max_snoozes => dead(progress),
        (Running, Event::Snoozed(pause)) => {
            let snoozes = progress.snoozes.saturating_add(1);
            later(Scheduled, Progress { snoozes, ..progress }, pause, progress.losses > 0)
        }
        // Of a task that a lost worker had, it is recorded that it runs. That is over, and no loss.
        (Running, Event::Released) => make(Queued, progress, progress.losses > 0, Some(Disposition::Release)),
        (Running, Event::LeaseLost) => {
            quiet(Queued, Progress { losses: progress.losses.saturating_add(1), ..progress })
        }

        (Scheduled | Queued | Running | Retrying, Event::Cancelled) => done(Cancelled, progress),
        (Scheduled | Queued | Retrying, Event::Expired) => done(Expired, progress),

        (Failed, Event::Replayed) => quiet(Queued, Progress::default()),

        _ => return Err(IllegalTransition { state, event }),
    };
    Ok(made)
}

fn failed(progress: Progress) -> Progress {
    Progress { failures: progress.failures.saturating_add(1), ..progress }
}

fn make(state: State, progress: Progress, save: bool, settle: Option<Disposition>) -> Transition {
    Transition { next: Snapshot { state, progress }, effects: Effects { save, settle } }
}

fn quiet(state: State, progress: Progress) -> Transition {
    make(state, progress, false, None)
}

fn done(state: State, progress: Progress) -> Transition {
    make(state, progress, true, Some(Disposition::Acknowledge))
}

fn dead(progress: Progress) -> Transition {
    make(State::Failed, progress, true, Some(Disposition::DeadLetter))
}

fn later(state: State, progress: Progress, after: Duration, save: bool) -> Transition {
    make(state, progress, save, Some(Disposition::Requeue { after }))
}

fn park(progress: Progress, policy: &ExecutionPolicy) -> Transition {
    if progress.parks >= policy.max_parks {
        return dead(progress);
    }
    let parks = progress.parks.saturating_add(1);
    later(State::Scheduled, Progress { parks, ..progress }, policy.park_delay, false)
}
