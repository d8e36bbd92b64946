//! What every part of a worker shares, and the way of one delivery through it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::message::wire::Malformed;
use windlass_core::policy::FailureClass;
use windlass_core::task::{ContextParts, Erased};
use windlass_core::{
    Backend, Broker, Clock, Context, Delivery, Event, ExecutionPolicy, Failure, FailureKind, Message, Options,
    Progress, Receipt, Record, Retention, SaveOutcome, Settlement, Shared, Snapshot, State, TaskId, TaskName,
    transition,
};

use super::completion::{Completion, Conclusion, Ending};
use super::lane::Slot;
use super::lease::Leases;
use super::middleware::Middleware;
use super::run::{Ended, Run};
use super::signal::{Kill, TaskSignal};
use super::stats::Stats;
use crate::pause::{Pause, in_time};

/// How long it is known at least that a redelivered task has begun.
const ANNOUNCED: Retention = Retention::For(Duration::from_secs(86_400));

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) backend: Option<Arc<dyn Backend>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) routes: HashMap<TaskName, Route>,
    /// The policy of what no route is known for.
    pub(super) policy: ExecutionPolicy,
    pub(super) shared: Arc<Shared>,
    pub(super) layers: Vec<Arc<dyn Middleware>>,
    pub(super) payload_limit: usize,
    pub(super) leases: Arc<Leases>,
    pub(super) stats: Stats,
    pub(super) executions: TaskTracker,
    /// No more fetching.
    pub(super) stop: CancellationToken,
    /// No more waiting for stores.
    pub(super) abandon: CancellationToken,
}

/// The handler of one task and its policy: built-in < configuration < task.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) handler: Erased,
    pub(super) policy: ExecutionPolicy,
}

/// A delivery whose message could be read, with all that decides about it.
struct Claimed<'a> {
    receipt: &'a Receipt,
    message: &'a Message,
    policy: ExecutionPolicy,
    progress: Progress,
}

impl Engine {
    /// Takes one delivery from claim to conclusion. Never fails: whatever happens is an event.
    pub(super) async fn process(&self, delivery: Delivery, signal: Arc<TaskSignal>, slot: &Arc<Slot>) -> Completion {
        let Delivery { receipt, progress, content } = delivery;
        let message = match content {
            Ok(message) => message,
            Err(undecodable) => {
                let event = match undecodable.malformed {
                    Malformed::Newer { .. } => Event::Unhandled,
                    _ => Event::Undecodable,
                };
                let failure = Failure::new(FailureKind::Undecodable, undecodable.malformed.to_string(), 0);
                return self.unread(receipt, progress, event, failure);
            }
        };
        let Some(route) = self.routes.get(&message.task) else {
            let mut known: Vec<&str> = self.routes.keys().map(TaskName::as_str).collect();
            known.sort_unstable();
            let text = format!("no handler for the task {:?}; this worker knows {known:?}", message.task);
            let failure = Failure::new(FailureKind::Unhandled, text, 0);
            return self.unread(receipt, progress, Event::Unhandled, failure);
        };
        let policy = match message.options == Options::default() {
            true => route.policy.clone(),
            false => route.policy.with(&message.options, message.enqueued_at),
        };
        let claimed = Claimed { receipt: &receipt, message: &message, policy, progress };
        let ending = self.decide(&claimed, &route.handler, signal, slot).await;
        Completion { task: Some(message.task), receipt, ending }
    }

    /// How a delivery that has not begun is given back.
    pub(super) fn release(&self, delivery: &Delivery) -> Option<Settlement> {
        let Delivery { receipt, progress, .. } = delivery;
        match self.conclude(State::Running, *progress, Event::Released, &self.policy, 0, None) {
            Ending::Settle(conclusion) => conclusion.settlement(receipt.clone()),
            Ending::Lost => None,
        }
    }

    fn unread(&self, receipt: Receipt, progress: Progress, event: Event, failure: Failure) -> Completion {
        let ending = self.conclude(State::Queued, progress, event, &self.policy, 0, Some(failure));
        Completion { receipt, task: None, ending }
    }

    async fn decide(
        &self,
        claimed: &Claimed<'_>,
        handler: &Erased,
        signal: Arc<TaskSignal>,
        slot: &Arc<Slot>,
    ) -> Ending {
        let Claimed { message, policy, progress, .. } = claimed;
        let now = self.clock.now();
        if policy.deadline.is_some_and(|at| at <= now) {
            let text = "its deadline had passed before it was started";
            let failure = Failure::new(FailureKind::Timeout, text, progress.attempt());
            let event = Event::Failed(FailureClass::Timeout);
            let attempt = progress.attempt();
            return claimed.with_remember(self.conclude(
                State::Running,
                *progress,
                event,
                policy,
                attempt,
                Some(failure),
            ));
        }
        if policy.expires_at.is_some_and(|at| at <= now) {
            return claimed.with_remember(self.conclude(State::Queued, *progress, Event::Expired, policy, 0, None));
        }
        let is_poison = progress.losses >= policy.max_losses && self.had_begun(&message.id).await;
        if progress.losses > 0
            && let Some(ending) = self.announce(claimed).await
        {
            return ending;
        }
        if is_poison {
            let text = format!("{} workers were lost while they ran it", progress.losses);
            let failure = Failure::new(FailureKind::Lost, text, progress.attempt());
            let attempt = progress.attempt();
            return self.conclude(State::Queued, *progress, Event::Claimed, policy, attempt, Some(failure));
        }
        let limits = windlass_core::policy::limits(policy, now);
        let context = Context::new(ContextParts {
            id: message.id.clone(),
            task: message.task.clone(),
            queue: message.queue.clone(),
            attempt: progress.attempt(),
            max_attempts: policy.max_retries.saturating_add(1),
            deadline: limits.hard.map(|hard| now.plus(hard)),
            headers: message.options.headers.clone(),
            shared: Arc::clone(&self.shared),
            signal: Arc::clone(&signal) as _,
        });
        let run = Run { context, limits, signal, layers: &self.layers, payload_limit: self.payload_limit };
        let ended = run.execute(handler, &message.payload, slot).await;
        self.end(claimed, ended)
    }

    fn end(&self, claimed: &Claimed<'_>, ended: Ended) -> Ending {
        let Claimed { policy, progress, .. } = claimed;
        let attempt = progress.attempt();
        let (event, result, failure) = match ended {
            Ended::Killed(Kill::LeaseLost) => return Ending::Lost,
            Ended::Killed(Kill::Shutdown) => (Event::Released, None, None),
            Ended::Succeeded(result) => (Event::Succeeded, Some(result), None),
            Ended::Otherwise(event @ Event::Snoozed(_), _) if progress.snoozes < policy.max_snoozes => {
                (event, None, None)
            }
            Ended::Otherwise(event, failure) => (event, None, failure),
        };
        let mut ending = self.conclude(State::Running, *progress, event, policy, attempt, failure);
        if let Ending::Settle(conclusion) = &mut ending {
            conclusion.result = result;
        }
        claimed.with_remember(ending)
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
                            return Some(self.conclude(State::Running, *progress, Event::Released, policy, 0, None));
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
            Some(_) => Some(Ending::Lost),
            None => None,
        })
    }

    /// The lost worker had finished it and only failed to tell the broker: do that for it.
    fn already(&self, claimed: &Claimed<'_>, stored: Record) -> Ending {
        let event = match stored.state {
            State::Failed => Event::Failed(FailureClass::Permanent),
            State::Succeeded => Event::Succeeded,
            _ => Event::Cancelled,
        };
        let ending =
            self.conclude(State::Running, claimed.progress, event, &claimed.policy, stored.attempt, stored.failure);
        match claimed.with_remember(ending) {
            Ending::Settle(mut conclusion) => {
                conclusion.transition.effects.save = false;
                Ending::Settle(conclusion)
            }
            Ending::Lost => Ending::Lost,
        }
    }

    fn conclude(
        &self,
        state: State,
        progress: Progress,
        event: Event,
        policy: &ExecutionPolicy,
        attempt: u32,
        failure: Option<Failure>,
    ) -> Ending {
        let now = self.clock.now();
        match transition(Snapshot { state, progress }, event, policy, now, fastrand::f64()) {
            Ok(transition) => Ending::Settle(Box::new(Conclusion {
                transition,
                attempt,
                at: now,
                result: None,
                failure,
                status_ttl: policy.status_ttl,
                result_ttl: policy.result_ttl,
                remember: None,
            })),
            Err(illegal) => {
                // Not reachable by the table of transitions; the lease will run out and count it.
                tracing::error!(target: "windlass::worker", %illegal, "a defect in windlass");
                Ending::Lost
            }
        }
    }
}

impl Claimed<'_> {
    /// An id is remembered at least as long as what became of it is kept, so that it does not stand
    /// for two tasks at a time.
    fn with_remember(&self, mut ending: Ending) -> Ending {
        if let (Ending::Settle(conclusion), Some(remember)) = (&mut ending, self.message.remember) {
            let kept = match self.policy.status_ttl {
                Retention::None => Duration::ZERO,
                Retention::For(span) => span,
                Retention::Forever => windlass_core::limits::DELAY,
            };
            conclusion.remember = Some(remember.max(kept));
        }
        ending
    }
}
