//! Tasks of workflows in a worker: what they are given before they run, and what follows when they
//! have ended.

use std::time::Duration;

use bytes::Bytes;
use windlass_core::flow::{FlowPart, KEEP_LEAST};
use windlass_core::policy::FailureClass;
use windlass_core::{Disposition, Error, ErrorKind, Event, Failure, FailureKind, Result, Retention, State};

use super::aftermath::Ended;
use super::completion::{Conclusion, Ending};
use super::engine::{Claimed, Engine};
use super::settle::until_done;
use crate::flow::{self, Flows};
use crate::pause::Pause;

impl Engine {
    fn flows(&self) -> Result<Flows<'_>> {
        Flows::over(&*self.broker, self.backend.as_deref(), &*self.clock)
    }

    /// The arguments of a task, with what others have made for it; or how it ends without them.
    pub(super) async fn arguments(&self, claimed: &Claimed<'_>) -> Result<Bytes, Ending> {
        let Claimed { message, policy, progress, .. } = claimed;
        let Some(part) = &message.flow else { return Ok(message.payload.clone()) };
        let flows = match self.flows() {
            Ok(flows) => flows,
            Err(error) => return Err(self.unable(claimed, &error)),
        };
        let Some(input) = part.input else { return Ok(message.payload.clone()) };
        let mut pause = Pause::default();
        loop {
            let error = match flows.arguments(&message.id, input, &message.payload).await {
                Ok(arguments) => return Ok(arguments),
                Err(error) => error,
            };
            if is_for_ever(&error) {
                let (event, attempt) = (Event::Failed(FailureClass::Permanent), progress.attempt());
                let failure = Failure::new(FailureKind::Arguments, error.message(), attempt);
                return Err(self.conclude(State::Running, *progress, event, policy, attempt, Some(failure)));
            }
            if pause.is_news() {
                tracing::warn!(target: "windlass::worker", task_id = %message.id, %error, "cannot read the input; trying again");
            }
            tokio::select! {
                () = self.stop.cancelled() => {
                    return Err(self.conclude(State::Running, *progress, Event::Released, policy, 0, None));
                }
                () = tokio::time::sleep(pause.next()) => {}
            }
        }
    }

    /// This worker has no notebook. Another one may have.
    fn unable(&self, claimed: &Claimed<'_>, error: &Error) -> Ending {
        let failure = Failure::new(FailureKind::Unhandled, error.message(), 0);
        self.conclude(State::Queued, claimed.progress, Event::Unhandled, &claimed.policy, 0, Some(failure))
    }
}

/// The state of a task of a workflow is kept as long as the workflow is, and its result long enough for
/// others to go on. Its record does not say "running" where it is not.
pub(super) fn adjust(conclusion: &mut Conclusion, part: &FlowPart) {
    conclusion.status_ttl = conclusion.status_ttl.max(Retention::For(part.keep.max(KEEP_LEAST)));
    conclusion.result_ttl = conclusion.result_ttl.max(Retention::For(KEEP_LEAST));
    conclusion.remember = conclusion.remember.map(|remember: Duration| remember.max(KEEP_LEAST));
    conclusion.transition.effects.save |= !conclusion.state().is_final();
}

/// Sees to what follows from these ends. `false` if one of several stands in the way of the others,
/// `None` if the worker may not wait any longer.
///
/// What can never be done is left to people: the task goes to the dead letters, although it has ended, and
/// whoever puts it back lets a worker that can do it go on from its record.
pub(super) async fn go_on(engine: &Engine, batch: &mut [Ended]) -> Option<bool> {
    let ends = || batch.iter().filter(|ended| ended.is_over()).filter_map(ended);
    if ends().next().is_none() {
        return Some(true);
    }
    let several = batch.len() > 1;
    let advance = || async {
        let answer = match engine.flows() {
            Ok(flows) => flows.advance(ends()).await,
            Err(error) => Err(error),
        };
        match answer {
            Err(error) if is_for_ever(&error) || (several && !error.is_retryable()) => Ok(Some(error)),
            answer => answer.map(|()| None),
        }
    };
    let Some(error) = until_done(engine, "go on with a workflow", advance).await? else { return Some(true) };
    if several {
        return Some(false);
    }
    for ended in batch {
        let task_id = &ended.receipt.id;
        tracing::error!(target: "windlass::worker", %task_id, %error, "what follows from it cannot be done; it goes to the dead letters");
        let conclusion = &mut ended.conclusion;
        conclusion.transition.effects.settle = Some(Disposition::DeadLetter);
        let text = format!("it is {}, but what follows from it cannot be done: {error}", conclusion.state());
        conclusion.failure = Some(Failure::new(FailureKind::Upstream, text, conclusion.attempt));
    }
    Some(true)
}

/// Whether trying again, in this worker, cannot help. A store that refuses may take it later.
fn is_for_ever(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::Codec)
}

fn ended(ended: &Ended) -> Option<flow::Ended> {
    let Ended { receipt, conclusion, .. } = ended;
    let message = conclusion.message.as_deref()?;
    Some(flow::Ended {
        id: receipt.id.clone(),
        task: message.task.clone(),
        state: conclusion.state(),
        part: message.flow.as_deref()?.clone(),
        result: conclusion.result.clone(),
        failure: conclusion.failure.clone(),
    })
}
