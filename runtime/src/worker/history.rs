//! Writes down the attempts that did not end well.

use windlass_core::{Failure, FailureKind, Place, Result, State};

use super::aftermath::Ended;
use super::completion::Conclusion;
use super::engine::{Claimed, Engine};
use crate::history::{further, place};
use crate::pause::in_time;

impl Conclusion {
    /// The failure of a run, if it is one: not of what ended without a run, or without an error.
    fn attempt_failed(&self) -> Option<&Failure> {
        let went_wrong = matches!(self.state(), State::Retrying | State::Failed) && self.transition.effects.save;
        let failure = self.failure.as_ref().filter(|failure| went_wrong && failure.attempt > 0)?;
        // A task that is lost for good has had its losses written down one by one.
        (!matches!(failure.kind, FailureKind::Lost | FailureKind::Upstream)).then_some(failure)
    }
}

impl Engine {
    /// Whether there is something to write down, and where.
    pub(super) fn keeps_history(&self, conclusion: &Conclusion) -> bool {
        conclusion.attempt_failed().is_some() && self.notebook().is_some()
    }

    /// Writes down the attempts of some tasks in one call.
    pub(super) async fn note_attempts(&self, batch: &[Ended]) {
        let noted = batch.iter().filter(|ended| ended.is_ours).filter_map(|Ended { receipt, conclusion, .. }| {
            let failure = conclusion.attempt_failed()?;
            place(&receipt.id, conclusion.place, conclusion.at, failure, conclusion.status_ttl).transpose()
        });
        self.note(noted.collect()).await;
    }

    /// Writes down that a worker was lost while it ran this task.
    pub(super) async fn note_loss(&self, claimed: &Claimed<'_>) {
        let Claimed { message, progress, policy, .. } = claimed;
        let failure = Failure::new(FailureKind::Lost, "the worker that ran it was lost", progress.attempt());
        let noted =
            place(&message.id, progress.place().saturating_sub(1), self.clock.now(), &failure, policy.status_ttl);
        self.note(noted.transpose().into_iter().collect()).await;
    }

    /// What cannot be written is left out: the history is not worth the task.
    async fn note(&self, places: Vec<Result<Place>>) {
        let (Some(notebook), [_, ..]) = (self.notebook(), &*places) else { return };
        let write = async {
            let places = places.into_iter().collect::<Result<Vec<_>>>()?;
            let filled = in_time("gather", notebook.gather(&places)).await?;
            let again: Vec<Place> =
                places.iter().zip(filled).filter_map(|(place, filled)| further(place, filled)).collect();
            if again.is_empty() { Ok(Vec::new()) } else { in_time("gather", notebook.gather(&again)).await }
        };
        if let Err(error) = write.await {
            tracing::warn!(target: "windlass::worker", %error, "attempts are missing in the history of their tasks");
        }
    }
}
