//! A delivery that a lost worker had before: is it over already, is it poison, and if not, how its
//! former owner is kept from writing.

use std::time::Duration;

use windlass_core::policy::FailureClass;
use windlass_core::{
    Backend, Event, ExecutionPolicy, Failure, FailureKind, Progress, Record, Retention, SaveOutcome, Snapshot, State,
    TaskId, transition,
};

use super::completion::Ending;
use super::engine::{Claimed, Engine};
use crate::cancel;
use crate::pause::{Pause, in_time};

/// How long it is known at least that a redelivered task has begun.
const ANNOUNCED: Retention = Retention::For(Duration::from_secs(86_400));

impl Engine {
    /// What becomes of a redelivered task without being run; `None` if it shall run.
    pub(super) async fn redelivered(&self, claimed: &Claimed<'_>) -> Option<Ending> {
        let is_lost = claimed.progress.losses > 0;
        let begun = is_lost && self.had_begun(&claimed.message.id).await;
        if let Some(ending) = self.announce(claimed).await {
            return Some(ending);
        }
        if begun {
            self.note_loss(claimed).await;
        }
        if is_lost { self.poison(claimed, begun) } else { None }
    }

    /// The end of a task that has taken too many workers with it.
    fn poison(&self, claimed: &Claimed<'_>, begun: bool) -> Option<Ending> {
        let Claimed { policy, progress, .. } = claimed;
        let (snapshot, event) = (Snapshot { state: State::Queued, progress: *progress }, Event::Claimed { begun });
        let claim = transition(snapshot, event, policy, self.clock.now(), 0.0);
        if claim.is_ok_and(|claim| claim.next.state == State::Running) {
            return None;
        }
        let (losses, attempt) = (progress.losses, progress.attempt());
        let failure = Failure::new(FailureKind::Lost, format!("{losses} workers were lost while they ran it"), attempt);
        Some(self.conclude(State::Queued, *progress, event, policy, attempt, Some(failure)))
    }

    /// Whether a lost worker had begun this task: it was announced before. What a worker had only
    /// fetched when it was lost is not to blame, however often that happens. Without a backend
    /// nobody can tell, and the losses alone decide.
    async fn had_begun(&self, id: &TaskId) -> bool {
        let Some(backend) = &self.backend else { return true };
        match in_time("load", backend.load(std::slice::from_ref(id))).await {
            Ok(mut stored) => stored.pop().flatten().is_some_and(|record| record.state == State::Running),
            // It is announced next, which waits for the backend; then it has begun for the next one.
            Err(_) => false,
        }
    }

    /// Tells the backend about a task that a lost worker had before, so that what that worker may
    /// still write is refused; and learns if it had finished after all.
    async fn announce(&self, claimed: &Claimed<'_>) -> Option<Ending> {
        let backend = self.backend.as_ref()?;
        let Claimed { receipt, policy, progress, .. } = claimed;
        let record = Record {
            id: receipt.id.clone(),
            token: receipt.token,
            state: State::Running,
            attempt: progress.attempt(),
            at: self.clock.now(),
            result: None,
            failure: None,
            // It must outlive the run even where nothing is kept of the task: it is the fence, and
            // what tells poison from bad luck. The final record takes its place.
            status_ttl: policy.status_ttl.max(ANNOUNCED),
            result_ttl: policy.result_ttl,
        };
        let mut pause = Pause::default();
        loop {
            match self.announced(&**backend, &record, claimed).await {
                Ok(ending) => return ending,
                Err(error) => {
                    if pause.is_news() {
                        tracing::warn!(target: "windlass::worker", task_id = %receipt.id, %error, "cannot announce; trying again");
                    }
                    tokio::select! {
                        () = self.stop.cancelled() => {
                            let ending = self.conclude(State::Running, *progress, Event::Released, policy, 0, None);
                            return Some(unsaved(ending));
                        }
                        () = tokio::time::sleep(pause.next()) => {}
                    }
                }
            }
        }
    }

    async fn announced(
        &self,
        backend: &dyn Backend,
        record: &Record,
        claimed: &Claimed<'_>,
    ) -> windlass_core::Result<Option<Ending>> {
        if in_time("save", backend.save(std::slice::from_ref(record))).await?.first() != Some(&SaveOutcome::Refused) {
            return Ok(None);
        }
        let stored = in_time("load", backend.load(std::slice::from_ref(&record.id))).await?.pop().flatten();
        Ok(match stored {
            Some(stored) if stored.state.is_final() => Some(self.already(claimed, stored)),
            Some(_) => Some(self.superseded(claimed)),
            None => None,
        })
    }

    /// A later claim has it. Where claims have leases, ours is over; where they have none, ours is of a
    /// second copy of the message, which must be removed, or it is held for as long as the connection.
    fn superseded(&self, claimed: &Claimed<'_>) -> Ending {
        if self.broker.capabilities().lease {
            return Ending::Lost;
        }
        let mut ending =
            unsaved(self.conclude(State::Running, claimed.progress, Event::Cancelled, &claimed.policy, 0, None));
        if let Ending::Settle(conclusion) = &mut ending {
            conclusion.is_copy = true;
        }
        ending
    }

    /// The lost worker had finished it and only failed to tell the broker: do that for it.
    fn already(&self, claimed: &Claimed<'_>, stored: Record) -> Ending {
        let is_request = cancel::is_request(&stored);
        let mut ending = claimed.with_remember(self.as_stored(claimed.progress, &claimed.policy, stored));
        if let Ending::Settle(conclusion) = &mut ending {
            // It is kept too long. To save it is refused, and then that is mended.
            conclusion.transition.effects.save = is_request;
        }
        ending
    }

    /// The end that is stored. What follows from it may not have followed yet.
    pub(super) fn as_stored(&self, progress: Progress, policy: &ExecutionPolicy, stored: Record) -> Ending {
        let (state, event) = match stored.state {
            State::Failed => (State::Running, Event::Failed(FailureClass::Permanent)),
            State::Succeeded => (State::Running, Event::Succeeded),
            State::Expired => (State::Queued, Event::Expired),
            _ => (State::Running, Event::Cancelled),
        };
        let mut ending = self.conclude(state, progress, event, policy, stored.attempt, stored.failure);
        if let Ending::Settle(conclusion) = &mut ending {
            conclusion.result = stored.result;
            conclusion.token = stored.token;
        }
        unsaved(ending)
    }
}

fn unsaved(mut ending: Ending) -> Ending {
    if let Ending::Settle(conclusion) = &mut ending {
        conclusion.transition.effects.save = false;
    }
    ending
}
