//! Functions of the application that are told how tasks have ended.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::Instrument;
use windlass_core::message::{Arguments, codec};
use windlass_core::task::{ContextParts, IntoAnswer};
use windlass_core::{Context, Error, ErrorKind, Failure, Message, Result, State, Task, TaskDef, TaskError};

use super::builder::WorkerBuilder;
use super::completion::Conclusion;
use super::engine::Engine;
use super::panic::caught;
use super::signal::TaskSignal;
use crate::flow::Flows;

/// How a task has ended, with its result if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<O> {
    /// It has this result.
    Succeeded(O),
    /// It failed, and no retry is left.
    Failed(Failure),
    /// It was cancelled, or cancelled itself.
    Cancelled {
        /// Why, if it was said.
        reason: Option<String>,
    },
    /// It was not started in time.
    Expired,
}

impl<O> Outcome<O> {
    /// The state that it has ended in.
    pub fn state(&self) -> State {
        match self {
            Self::Succeeded(_) => State::Succeeded,
            Self::Failed(_) => State::Failed,
            Self::Cancelled { .. } => State::Cancelled,
            Self::Expired => State::Expired,
        }
    }
}

impl Outcome<Bytes> {
    fn of(conclusion: &Conclusion) -> Option<Self> {
        let failure = || conclusion.failure.clone();
        Some(match conclusion.state() {
            State::Succeeded => Self::Succeeded(conclusion.result.clone()?),
            State::Failed => Self::Failed(failure()?),
            State::Cancelled => {
                let reason = failure().map(|failure| failure.message).filter(|reason| !reason.is_empty());
                Self::Cancelled { reason }
            }
            State::Expired => Self::Expired,
            _ => return None,
        })
    }

    /// With the result as what it was before it was encoded.
    fn decode<O: DeserializeOwned>(self) -> Result<Outcome<O>> {
        Ok(match self {
            Self::Succeeded(result) => Outcome::Succeeded(codec::decode("result", &result)?),
            Self::Failed(failure) => Outcome::Failed(failure),
            Self::Cancelled { reason } => Outcome::Cancelled { reason },
            Self::Expired => Outcome::Expired,
        })
    }
}

/// A function or closure that is told how a task with arguments `A` and result `O` has ended: it takes the
/// context of the last run, the arguments, and the outcome. It is async, and answers nothing or a
/// `Result` without a value.
#[diagnostic::on_unimplemented(
    message = "this function cannot be told of the end of a task with arguments `{A}` and result `{O}`",
    note = "its parameters must be `Context`, `{A}` and `Outcome<{O}>`, its future must be Send, and answer nothing or a `Result<(), E>`"
)]
pub trait OnEnd<A, O>: Fn(Context, A, Outcome<O>) -> Self::Telling + Send + Sync + 'static {
    /// What it answers.
    type Telling: Future<Output: IntoAnswer<()>> + Send + 'static;
}

impl<A, O, F, Telling> OnEnd<A, O> for F
where
    F: Fn(Context, A, Outcome<O>) -> Telling + Send + Sync + 'static,
    Telling: Future<Output: IntoAnswer<()>> + Send + 'static,
{
    type Telling = Telling;
}

type Told = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send>>;
type Tell = dyn Fn(Context, Bytes, Outcome<Bytes>) -> Result<Told> + Send + Sync;

/// A function that is told, without the types of its task.
#[derive(Clone)]
pub(super) struct Callback(Arc<Tell>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl Callback {
    fn untyped(tell: impl OnEnd<Bytes, Bytes>) -> Self {
        Self(Arc::new(move |context, args, outcome| {
            let told = tell(context, args, outcome);
            Ok(Box::pin(async move { told.await.into_answer() }))
        }))
    }

    fn typed<A: Arguments, O: DeserializeOwned>(tell: impl OnEnd<A, O>) -> Self {
        Self(Arc::new(move |context, args, outcome| {
            let told = tell(context, A::decode(&args)?, outcome.decode()?);
            Ok(Box::pin(async move { told.await.into_answer() }))
        }))
    }
}

/// What a worker does about ends, as it is built.
#[derive(Debug)]
pub(super) struct Callbacks {
    /// Those of one task, with its name, and those of all.
    listed: Vec<(Option<&'static str>, Callback)>,
    /// How long one may take.
    pub(super) limit: Duration,
}

impl Default for Callbacks {
    fn default() -> Self {
        Self { listed: Vec::new(), limit: Duration::from_secs(30) }
    }
}

impl Callbacks {
    /// Those of a task and those of all, in the order in which they were given.
    pub(super) fn of(&self, task: &str) -> Vec<Callback> {
        let is_told = |named: &Option<&str>| named.is_none_or(|named| named == task);
        self.listed.iter().filter(|(named, _)| is_told(named)).map(|(_, callback)| callback.clone()).collect()
    }

    /// Those of all.
    pub(super) fn of_all(&self) -> Vec<Callback> {
        self.listed.iter().filter(|(named, _)| named.is_none()).map(|(_, callback)| callback.clone()).collect()
    }

    /// Refuses one of a task that the worker does not run.
    pub(super) fn check(&self, tasks: &[&'static str]) -> Result<()> {
        let unknown = self.listed.iter().filter_map(|(named, _)| *named).find(|named| !tasks.contains(named));
        match unknown {
            Some(task) => {
                let text = format!("on_end is given for the task {task:?}, which is not registered with this worker");
                Err(Error::new(ErrorKind::Config, "worker", text))
            }
            None => Ok(()),
        }
    }
}

impl WorkerBuilder {
    /// Calls a function whenever this worker has ended a task of this type: it succeeded, failed for good,
    /// was cancelled, or had expired. It is given the arguments and the outcome, after the outcome is saved.
    ///
    /// It never changes the outcome: an error, a panic, and more time than
    /// [`WorkerBuilder::callback_timeout`] are logged, and that is all. The task's claim is kept meanwhile.
    /// A worker that is lost in between leaves it to the next one, so it may be called twice. Of what is
    /// cancelled before any worker has it, no worker knows: nothing is called. For what must happen in any
    /// case, use a task.
    ///
    /// ```
    /// # use windlass_core::TaskDef;
    /// # use windlass_runtime::{Outcome, WorkerBuilder};
    /// # const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");
    /// # fn build(worker: WorkerBuilder) -> WorkerBuilder {
    /// worker.on_end_of(ADD, |context, (a, b), outcome| async move {
    ///     if let Outcome::Succeeded(sum) = outcome {
    ///         println!("{}: {a} + {b} = {sum}", context.id());
    ///     }
    /// })
    /// # }
    /// ```
    #[doc(alias = "callback")]
    pub fn on_end<T: Task>(self, tell: impl OnEnd<T::Args, T::Output>) -> Self {
        self.tell(Some(T::NAME), Callback::typed(tell))
    }

    /// As [`WorkerBuilder::on_end`], for a task that is a definition and a function.
    pub fn on_end_of<A: Arguments, O: DeserializeOwned + 'static>(
        self,
        definition: TaskDef<A, O>,
        tell: impl OnEnd<A, O>,
    ) -> Self {
        self.tell(Some(definition.name()), Callback::typed(tell))
    }

    /// As [`WorkerBuilder::on_end`], for every task, with arguments and result as they travel. The arguments
    /// are empty where what a workflow has given the task is not kept any more.
    pub fn on_end_of_all(self, tell: impl OnEnd<Bytes, Bytes>) -> Self {
        self.tell(None, Callback::untyped(tell))
    }

    /// How long a callback may take. 30 s unless it is set.
    pub fn callback_timeout(mut self, limit: Duration) -> Self {
        self.callbacks.limit = limit;
        self
    }

    fn tell(mut self, task: Option<&'static str>, callback: Callback) -> Self {
        self.callbacks.listed.push((task, callback));
        self
    }
}

impl Engine {
    /// The callbacks that are told of the end of this task.
    pub(super) fn callbacks(&self, message: &Message) -> &[Callback] {
        self.routes.get(&message.task).map_or(&self.callbacks, |route| &route.callbacks)
    }

    /// The arguments of a task, with what a workflow has given it; nothing if that is not kept any more.
    pub(super) async fn given(&self, message: &Message) -> Result<Bytes> {
        let Some(input) = message.flow.as_ref().and_then(|part| part.input) else {
            return Ok(message.payload.clone());
        };
        let flows = Flows::over(&*self.broker, self.backend.as_deref(), &*self.clock);
        let given = async { flows?.arguments(&message.id, input, &message.payload).await };
        match given.await {
            Err(error) if !error.is_retryable() => Ok(Bytes::new()),
            answer => answer,
        }
    }

    /// Tells them, one after the other.
    pub(super) async fn tell(&self, message: &Message, args: Bytes, conclusion: &Conclusion) {
        let Some(outcome) = Outcome::of(conclusion) else { return };
        for callback in self.callbacks(message) {
            let context = self.context_after(message, conclusion);
            let span = tracing::info_span!(
                target: "windlass::worker", "callback",
                task_id = %message.id, task = %message.task, queue = %message.queue, state = %outcome.state(),
            );
            let call = self.call(callback, context, args.clone(), outcome.clone());
            if let Err(error) = call.instrument(span).await {
                let (task_id, task) = (&message.id, &message.task);
                tracing::warn!(target: "windlass::worker", %task_id, %task, error, "a callback has failed");
            }
        }
    }

    async fn call(
        &self,
        Callback(callback): &Callback,
        context: Context,
        args: Bytes,
        outcome: Outcome<Bytes>,
    ) -> Result<(), String> {
        let limit = self.callback_limit;
        // What cannot be decoded is quoted by the text of the error, and is not for a log.
        let undecoded = |_: Error| "the arguments or the result are not what it takes".to_owned();
        let told = async {
            let telling = callback(context, args, outcome).map_err(undecoded)?;
            telling.await.map_err(|error| error.to_string())
        };
        match timeout(limit, caught(told)).await {
            Ok(Ok(told)) => told,
            Ok(Err(panic)) => Err(format!("it panicked: {panic}")),
            Err(_) => Err(format!("it took longer than {limit:?}")),
        }
    }

    /// What a callback may know: that of the last run.
    fn context_after(&self, message: &Message, conclusion: &Conclusion) -> Context {
        let now = self.clock.now();
        Context::new(ContextParts {
            id: message.id.clone(),
            task: message.task.clone(),
            queue: message.queue.clone(),
            attempt: conclusion.attempt,
            max_attempts: conclusion.attempt,
            deadline: Some(now.plus(self.callback_limit)),
            finish_by: message.options.deadline,
            retries_left: 0,
            headers: message.options.headers.clone(),
            token: conclusion.token,
            kept: conclusion.status_ttl,
            shared: Arc::clone(&self.shared),
            signal: Arc::<TaskSignal>::default(),
        })
    }
}
