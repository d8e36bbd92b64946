//! What every part of a worker shares, and the way of one delivery through it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::message::wire::Malformed;
use windlass_core::policy::FailureClass;
use windlass_core::task::{ContextParts, Erased, Signal};
use windlass_core::{
    Backend, Broker, Clock, Context, Delivery, Event, ExecutionPolicy, Failure, FailureKind, Message, Options,
    Progress, Receipt, Retention, Settlement, Shared, Snapshot, State, TaskName, Token, transition,
};

use super::callbacks::Callback;
use super::completion::{Completion, Conclusion, Ending};
use super::flow;
use super::lane::Slot;
use super::lease::Leases;
use super::middleware::Middleware;
use super::progress::Reporter;
use super::run::{Ended, Run};
use super::signal::{Kill, TaskSignal};
use super::stats::Stats;
use super::stuck::{GOES_ON, Threads};
use crate::cancel;

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
    /// Those that are told of the ends of tasks without a route.
    pub(super) callbacks: Vec<Callback>,
    pub(super) callback_limit: Duration,
    /// Between the request to cancel a running task and its end.
    pub(super) cancel_grace: Duration,
    /// What running tasks say about themselves, where a store can keep it.
    pub(super) reporter: Option<Arc<Reporter>>,
}

/// The handler of one task and its policy: built-in < configuration < task.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) handler: Erased,
    pub(super) policy: ExecutionPolicy,
    /// Those that are told of the ends of this task.
    pub(super) callbacks: Vec<Callback>,
}

/// A delivery whose message could be read, with all that decides about it.
pub(super) struct Claimed<'a> {
    pub(super) receipt: &'a Receipt,
    pub(super) message: &'a Message,
    pub(super) policy: ExecutionPolicy,
    pub(super) progress: Progress,
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
            let unread = self.unread(receipt, progress, Event::Unhandled, failure);
            return self.keep_message(unread, message, &self.callbacks);
        };
        let claimed = Claimed { receipt: &receipt, message: &message, policy: route.policy_of(&message), progress };
        let mut ending = self.decide(&claimed, &route.handler, signal, slot).await;
        if let (Ending::Settle(conclusion), Some(reporter)) = (&mut ending, &self.reporter) {
            conclusion.reported = reporter.knows(&message.id);
        }
        self.keep_message(Completion { task: None, receipt, ending }, message, &route.callbacks)
    }

    /// Leaves the message with the completion where something follows from its end.
    fn keep_message(&self, mut completion: Completion, message: Message, callbacks: &[Callback]) -> Completion {
        let is_needed = message.flow.is_some() || !callbacks.is_empty();
        match &mut completion.ending {
            Ending::Settle(conclusion) if is_needed && !conclusion.is_copy => {
                completion.task = Some(message.task.clone());
                if let Some(part) = &message.flow {
                    flow::adjust(conclusion, part);
                }
                conclusion.message = Some(Box::new(message));
            }
            _ => completion.task = Some(message.task),
        }
        completion
    }

    /// How a delivery that has not begun is given back.
    pub(super) fn release(&self, delivery: &Delivery) -> Option<Settlement> {
        let Delivery { receipt, progress, .. } = delivery;
        match self.conclude(State::Running, *progress, Event::Released, &self.policy, 0, None) {
            Ending::Settle(conclusion) => conclusion.settlement(receipt.clone()),
            Ending::Lost => None,
        }
    }

    /// How a delivery ends that has not begun, and that somebody wants cancelled.
    pub(super) fn cancelled(&self, delivery: &Delivery, signal: &TaskSignal) -> Option<Completion> {
        signal.is_cancelled()?;
        let Delivery { receipt, progress, content } = delivery;
        let message = content.as_ref().ok()?;
        let route = self.routes.get(&message.task)?;
        let claimed = Claimed { receipt, message, policy: route.policy_of(message), progress: *progress };
        let ending = self.end(&claimed, Ended::Killed(Kill::Cancelled, false), signal);
        let completion = Completion { receipt: receipt.clone(), task: None, ending };
        Some(self.keep_message(completion, message.clone(), &route.callbacks))
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
        if (progress.losses > 0 || message.flow.is_some())
            && let Some(ending) = self.redelivered(claimed).await
        {
            return ending;
        }
        if *progress != Progress::default() {
            self.asked_to_end(claimed, &signal).await;
        }
        if signal.is_cancelled().is_some() {
            return self.end(claimed, Ended::Killed(Kill::Cancelled, false), &signal);
        }
        let limits = windlass_core::policy::limits(policy, now);
        let context = Context::new(ContextParts {
            id: message.id.clone(),
            task: message.task.clone(),
            queue: message.queue.clone(),
            attempt: progress.attempt(),
            max_attempts: progress.retries(policy.max_retries).saturating_add(1),
            deadline: limits.hard.map(|hard| now.plus(hard)),
            finish_by: policy.deadline,
            retries_left: progress.retries_left(policy.max_retries),
            headers: message.options.headers.clone(),
            token: claimed.receipt.token,
            kept: policy.status_ttl,
            shared: Arc::clone(&self.shared),
            signal: Arc::clone(&signal) as _,
        });
        let run = Run {
            context,
            limits,
            signal: Arc::clone(&signal),
            layers: &self.layers,
            payload_limit: self.payload_limit,
            threads: Threads::new(&self.stats.stuck),
        };
        let ended = match message.flow {
            None => run.execute(handler, &message.payload, slot).await,
            Some(_) => match self.arguments(claimed).await {
                Ok(arguments) => run.execute(handler, &arguments, slot).await,
                Err(ending) => return ending,
            },
        };
        self.end(claimed, ended, &signal)
    }

    /// What follows from a run. A task that somebody wanted cancelled while it ran is cancelled, whatever
    /// the run answers: who asked for it counts on that, and does not see which came first.
    fn end(&self, claimed: &Claimed<'_>, ended: Ended, signal: &TaskSignal) -> Ending {
        let Claimed { policy, progress, .. } = claimed;
        let attempt = progress.attempt();
        let progress = match signal.retries_left() {
            Some(left) => progress.with_retries_left(left),
            None => *progress,
        };
        let requested = signal.is_cancelled();
        let (event, result, failure) = match (ended, requested) {
            (Ended::Killed(Kill::LeaseLost, _), _) => return Ending::Lost,
            (ended, Some(reason)) => {
                let mut failure = cancel::failure(reason, attempt);
                if matches!(ended, Ended::Killed(_, true)) {
                    failure.causes.push(GOES_ON.to_owned());
                }
                (Event::Cancelled, None, Some(failure))
            }
            (Ended::Killed(..), None) => (Event::Released, None, None),
            (Ended::Succeeded(result), None) => (Event::Succeeded, Some(result), None),
            (Ended::Otherwise(event @ Event::Snoozed(_), _), None) if progress.snoozes < policy.max_snoozes => {
                (event, None, None)
            }
            (Ended::Otherwise(event, failure), None) => (event, None, failure),
        };
        let mut ending = self.conclude(State::Running, progress, event, policy, attempt, failure);
        if let Ending::Settle(conclusion) = &mut ending {
            conclusion.result = result;
            conclusion.token = claimed.receipt.token;
            conclusion.requested = requested.is_some();
        }
        claimed.with_remember(ending)
    }

    pub(super) fn conclude(
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
                token: Token::default(),
                place: progress.place(),
                requested: false,
                is_copy: false,
                reported: false,
                message: None,
            })),
            Err(illegal) => {
                // Not reachable by the table of transitions; the lease will run out and count it.
                tracing::error!(target: "windlass::worker", %illegal, "a defect in windlass");
                Ending::Lost
            }
        }
    }
}

impl Route {
    fn policy_of(&self, message: &Message) -> ExecutionPolicy {
        match message.options == Options::default() {
            true => self.policy.clone(),
            false => self.policy.with(&message.options, message.enqueued_at),
        }
    }
}

impl Claimed<'_> {
    /// An id is remembered at least as long as what became of it is kept, so that it does not stand
    /// for two tasks at a time.
    pub(super) fn with_remember(&self, mut ending: Ending) -> Ending {
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
