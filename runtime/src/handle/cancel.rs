//! Cancelling by a handle.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::{CancelOutcome, Error, Location, Record, Result, Retention, SaveOutcome, State, Token};

use super::TaskHandle;
use crate::cancel::{self, Cancellation};
use crate::flow::Flows;
use crate::pause::{Pause, in_time};

/// How long the record of a cancelled task is kept.
const KEPT: Duration = Duration::from_secs(86_400);
/// How long it is tried to be written.
const RECORD: Duration = Duration::from_secs(10);

impl<O> TaskHandle<O> {
    /// Cancels the task, wherever it is; the answer says where it was.
    ///
    /// * What waits (scheduled, queued, for a retry) is removed, and will never run.
    /// * What runs is asked to end, durably: [`CancelOutcome::Requested`]. The task is told at once
    ///   ([`Interrupt::Cancelled`](windlass_core::Interrupt)), and dropped if it does not end within
    ///   the worker's `cancel_grace`. It ends as cancelled even if it answers a result meanwhile, and is
    ///   not retried; but one that ends within about 100 ms of its start may not hear of it in time. A blocking task cannot be dropped; it ends as cancelled all the same, and its
    ///   thread goes on. This needs a backend; without one, [`CancelOutcome::Running`] says that
    ///   nothing was done.
    /// * A broker that cannot take a message out of its queue (RabbitMQ) needs a backend for the first,
    ///   too; the answer is then [`CancelOutcome::Requested`] for both.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` if a store cannot be reached; `Unsupported` if the broker cannot
    /// and there is no backend.
    pub async fn cancel(&self) -> Result<Cancellation> {
        self.cancel_for(None).await
    }

    /// As [`TaskHandle::cancel`], with a reason: who waits for the result is told it
    /// ([`ResultError::Cancelled`](crate::ResultError::Cancelled)), and the task too.
    ///
    /// # Errors
    /// As [`TaskHandle::cancel`]; `Invalid` for a reason of more than 1 KiB.
    pub async fn cancel_because(&self, reason: impl Into<String>) -> Result<Cancellation> {
        let reason = reason.into();
        cancel::check_reason(&reason)?;
        self.cancel_for(Some(reason)).await
    }

    async fn cancel_for(&self, reason: Option<String>) -> Result<Cancellation> {
        let done = self.cancel_where_it_is(reason).await?;
        let Cancellation { outcome, was } = done;
        tracing::info!(target: "windlass::client", task_id = %self.id, queue = %self.queue, ?outcome, ?was, "cancel");
        Ok(done)
    }

    async fn cancel_where_it_is(&self, reason: Option<String>) -> Result<Cancellation> {
        let can = self.broker.capabilities();
        if let (false, Some(backend)) = (can.cancel, &self.backend) {
            return cancel::by_record(backend, self.clock.now(), &self.id, reason).await;
        }
        let was = if can.locate { self.broker.locate(&self.queue, &self.id).await?.and_then(waiting) } else { None };
        let kept = match was {
            Some(was) if was != State::Running => self.stop_part(reason.as_deref()).await?,
            _ => KEPT,
        };
        match self.broker.cancel(&self.queue, &self.id).await? {
            CancelOutcome::Cancelled => {
                self.record_cancelled(reason.as_deref(), kept).await?;
                let was = was.filter(|was| *was != State::Running).unwrap_or(State::Queued);
                Ok(Cancellation { outcome: CancelOutcome::Cancelled, was: Some(was) })
            }
            CancelOutcome::Running => self.ask_to_end(reason.as_deref()).await,
            outcome => Ok(Cancellation { outcome, was: None }),
        }
    }

    /// Asks a task that runs to end. Meanwhile it may have ended, or failed and wait for its next run.
    async fn ask_to_end(&self, reason: Option<&str>) -> Result<Cancellation> {
        let running = |outcome| Ok(Cancellation { outcome, was: Some(State::Running) });
        let Some(notebook) = self.backend.as_ref().and_then(|backend| backend.notebook()) else {
            return running(CancelOutcome::Running);
        };
        // Its worker may be at what follows from its end.
        let has_ended =
            |record: Record| record.state.is_final() && record.state != State::Failed && !cancel::is_request(&record);
        if self.load().await?.is_some_and(has_ended) {
            return Ok(Cancellation { outcome: CancelOutcome::NotFound, was: None });
        }
        let id = std::slice::from_ref(&self.id);
        cancel::ask(notebook, self.clock.now(), id, reason).await?;
        let outcome = self.broker.cancel(&self.queue, &self.id).await?;
        if !matches!(outcome, CancelOutcome::Cancelled | CancelOutcome::NotFound) {
            return running(CancelOutcome::Requested);
        }
        if outcome == CancelOutcome::Cancelled {
            let kept = self.stop_part(reason).await?;
            self.record_cancelled(reason, kept).await?;
        }
        // If it has ended: its worker may have heard the request.
        let is_cancelled = self.load().await?.is_some_and(|record| record.state == State::Cancelled);
        cancel::withdraw(notebook, id).await;
        match outcome {
            CancelOutcome::Cancelled => Ok(Cancellation { outcome, was: Some(State::Retrying) }),
            _ if is_cancelled => running(CancelOutcome::Requested),
            _ => Ok(Cancellation { outcome, was: None }),
        }
    }

    /// If the task is part of a workflow, that goes on or ends without it. Its record is saved first and its
    /// message removed last: if this process dies in between, the worker that gets the message does the rest.
    /// Answers how long its record is to be kept.
    async fn stop_part(&self, reason: Option<&str>) -> Result<Duration> {
        let backend = self.backend.as_deref();
        let Ok(flows) = Flows::over(&*self.broker, backend, &*self.clock) else { return Ok(KEPT) };
        let Some(kept) = flows.kept_with(&self.id).await? else { return Ok(KEPT) };
        let kept = kept.max(KEPT);
        // If it has ended meanwhile, its worker sees to what follows.
        if self.record_cancelled(reason, kept).await? {
            flows.stopped(&self.id, Some(cancel::failure(reason, 0))).await?;
        }
        Ok(kept)
    }

    /// Tells the backend; `false` if the task has ended already. It is tried for a while, because nobody can
    /// do it later: the broker does not know the task any more.
    async fn record_cancelled(&self, reason: Option<&str>, kept: Duration) -> Result<bool> {
        let Some(backend) = &self.backend else { return Ok(true) };
        let start = Instant::now();
        let mut pause = Pause::default();
        loop {
            let record = async {
                let stored = self.load().await?;
                let has_ended = stored.as_ref().is_some_and(|stored| stored.state.is_final());
                let outcomes = backend.save(&[self.cancelled(stored, reason, kept)]).await?;
                Ok((outcomes.first() != Some(&SaveOutcome::Refused), has_ended))
            };
            match in_time("cancel", record).await {
                Ok((is_taken, has_ended)) if is_taken || has_ended || start.elapsed() >= RECORD => return Ok(is_taken),
                // A worker has changed it since it was read.
                Ok(_) => sleep(pause.next()).await,
                Err(error) if start.elapsed() >= RECORD => {
                    let text =
                        format!("it is cancelled and will not run, but that is not recorded: {}", error.message());
                    return Err(Error::new(error.kind(), "cancel", text).with_task(self.id.clone()).with_source(error));
                }
                Err(_) => sleep(pause.next()).await,
            }
        }
    }

    fn cancelled(&self, stored: Option<Record>, reason: Option<&str>, kept: Duration) -> Record {
        let ttl = Retention::For(kept);
        Record {
            id: self.id.clone(),
            token: stored.as_ref().map_or(Token::default(), |record| record.token),
            state: State::Cancelled,
            attempt: stored.as_ref().map_or(0, |record| record.attempt),
            at: self.clock.now(),
            result: None,
            failure: reason.map(|reason| cancel::failure(Some(reason), 0)),
            status_ttl: ttl,
            result_ttl: ttl,
        }
    }
}

/// The state of what is in the broker and has not ended.
fn waiting(location: Location) -> Option<State> {
    Some(match location {
        Location::Queued => State::Queued,
        Location::Scheduled { retrying: true, .. } => State::Retrying,
        Location::Scheduled { .. } => State::Scheduled,
        Location::Running { .. } => State::Running,
        Location::Dead => return None,
    })
}
