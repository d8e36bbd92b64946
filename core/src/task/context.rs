use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::TaskError;
use crate::message::{Headers, codec};
use crate::{Error, ErrorKind, QueueName, Result, Retention, TaskId, TaskName, Timestamp, Token};

/// Largest value of a progress: 64 KiB.
const PROGRESS_BYTES: usize = 64 * 1024;

/// Why a running task should end, the weakest reason first: a stronger one takes the place of a weaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Interrupt {
    /// The soft timeout has passed.
    SoftTimeout,
    /// The worker shuts down; what is not finished in time is given back, without counting.
    Shutdown,
    /// Somebody asked for the task to be cancelled; it ends as cancelled whatever this run answers.
    /// [`Context::cancel_reason`] says why.
    Cancelled,
    /// The claim was lost: another worker has the task, and the result of this run is refused.
    LeaseLost,
}

/// What connects a running task with its worker. Workers and test harnesses implement it; tasks use
/// [`Context`].
pub trait Signal: fmt::Debug + Send + Sync {
    /// The strongest reason to end by now, if there is one.
    fn interrupt(&self) -> Option<Interrupt>;

    /// Waits until there is a reason that is stronger than `than`; any reason if that is `None`.
    fn interrupted(&self, than: Option<Interrupt>) -> Pin<Box<dyn Future<Output = Interrupt> + Send + '_>>;

    /// What was said by who asked for the task to be cancelled.
    fn cancel_reason(&self) -> Option<String> {
        None
    }

    /// The number of retries that this run has set to follow it.
    fn retries_left(&self) -> Option<u32> {
        None
    }

    /// Sets the number of retries that follow this run.
    fn set_retries_left(&self, _retries: u32) {}
}

/// Who takes the progress of tasks: the worker, or a fake in a test.
pub trait Report: fmt::Debug + Send + Sync {
    /// Takes the progress of the task that runs in `context`, encoded. Answers at once.
    fn report(&self, context: &Context, value: Bytes);
}

/// The value of [`Shared`] by which tasks report their progress. Workers with a store for notes put it there.
#[derive(Debug, Clone)]
pub struct Reports(pub Arc<dyn Report>);

/// Values of the application that tasks share, one of each type.
#[derive(Clone, Default)]
pub struct Shared(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Shared {
    /// Adds a value; a second of the same type replaces the first.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of that type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>()).cloned().and_then(|value| value.downcast().ok())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} values)", self.0.len())
    }
}

/// What a task may know about its own run. Cheap to clone.
///
/// A task takes it as an optional first parameter.
#[derive(Debug, Clone)]
pub struct Context(Arc<ContextParts>);

/// What a [`Context`] is made of; workers and test harnesses fill it.
#[derive(Debug)]
pub struct ContextParts {
    /// The task.
    pub id: TaskId,
    /// Its name.
    pub task: TaskName,
    /// Where it came from.
    pub queue: QueueName,
    /// The number of this run: 1 for the first.
    pub attempt: u32,
    /// The number of the last possible run.
    pub max_attempts: u32,
    /// When this run is stopped.
    pub deadline: Option<Timestamp>,
    /// When the task must be finished, retries included.
    pub finish_by: Option<Timestamp>,
    /// The retries that are left to this run, unless it sets them itself.
    pub retries_left: u32,
    /// The headers of the call.
    pub headers: Headers,
    /// The claim that it runs under.
    pub token: Token,
    /// How long what becomes of it is kept.
    pub kept: Retention,
    /// The values of the application.
    pub shared: Arc<Shared>,
    /// What connects it with its worker.
    pub signal: Arc<dyn Signal>,
}

impl Context {
    /// Makes a context from its parts.
    pub fn new(parts: ContextParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The id of the task; the same in every run of it. Use it to make effects idempotent.
    #[doc(alias = "GetTaskId")]
    pub fn id(&self) -> &TaskId {
        &self.0.id
    }

    /// The wire name of the task.
    pub fn task(&self) -> &TaskName {
        &self.0.task
    }

    /// The queue that it came from.
    pub fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    /// The number of this run: 1 for the first.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// The number of the last possible run: retries plus one.
    pub fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// When this run is stopped, if there is a limit.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.deadline
    }

    /// When the task must be finished, retries and children included, if a deadline was given.
    pub fn finish_by(&self) -> Option<Timestamp> {
        self.0.finish_by
    }

    /// How often the task is run again if this run and those after it fail.
    #[doc(alias = "GetRetryCount")]
    pub fn retries_left(&self) -> u32 {
        self.0.signal.retries_left().unwrap_or(self.0.retries_left)
    }

    /// Changes how often the task is run again if this run and those after it fail: 0 makes this run the
    /// last one. It holds for the rest of the task's life, on every worker, from when this run has ended;
    /// if the worker is lost before that, it is as if it had not been said.
    #[doc(alias = "SetRetryCount")]
    pub fn set_retries_left(&self, retries: u32) {
        self.0.signal.set_retries_left(retries);
    }

    /// Tells how far the task is, to whoever follows it by its handle. The last value wins: of values
    /// that come faster than about ten a second, some are left out, never the last one.
    ///
    /// It answers at once; the store is told beside the task. Cheap enough for a loop.
    ///
    /// # Errors
    /// `Codec` if the value cannot be encoded, `Invalid` if it is larger than 64 KiB, `Unsupported` if
    /// the worker has no store that keeps notes.
    pub fn progress(&self, value: impl Serialize) -> Result<()> {
        let value = codec::encode("progress", &value)?;
        if value.len() > PROGRESS_BYTES {
            let bytes = format_args!("{} B", value.len()).to_string();
            return Err(Error::invalid("progress", bytes, format_args!("at most {PROGRESS_BYTES} B")));
        }
        let Reports(reports) = self.state::<Reports>().map(Arc::unwrap_or_clone).ok_or_else(|| {
            let text = "progress needs a store that keeps notes: set backend.url";
            Error::new(ErrorKind::Unsupported, "progress", text).with_task(self.id().clone())
        })?;
        reports.report(self, value);
        Ok(())
    }

    /// The claim that this run has: greater than those of the runs before it. Give it to a store that is
    /// written by this task, and let the store refuse a smaller one: then a run that has lost its claim
    /// without knowing cannot overwrite what its successor wrote.
    #[doc(alias = "fencing")]
    pub fn token(&self) -> Token {
        self.0.token
    }

    /// How long what becomes of the task is kept.
    pub fn kept(&self) -> Retention {
        self.0.kept
    }

    /// The headers that the call carries.
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// The value of the application of that type.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.shared.get()
    }

    /// Why this run should end, if it should: the strongest reason so far. For loops in blocking tasks.
    #[doc(alias = "IsAbort")]
    pub fn interrupt(&self) -> Option<Interrupt> {
        self.0.signal.interrupt()
    }

    /// Waits until this run should end. For `select!` in async tasks.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn interrupted(&self) -> Interrupt {
        self.0.signal.interrupted(None).await
    }

    /// Waits until there is a stronger reason to end than one that the task knows already: for a task that
    /// goes on after its soft timeout and still wants to hear that it is cancelled.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn interrupted_beyond(&self, known: Interrupt) -> Interrupt {
        self.0.signal.interrupted(Some(known)).await
    }

    /// What was said by who asked for the task to be cancelled.
    pub fn cancel_reason(&self) -> Option<String> {
        self.0.signal.cancel_reason()
    }
}

/// A parameter of a task that comes from the worker, not from the call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken from the worker",
    note = "the first parameters of a task may be `Context` and `State<T>`; all others are arguments"
)]
pub trait FromContext: Sized + Send + 'static {
    /// Takes it.
    ///
    /// # Errors
    /// A permanent error if the worker does not have it.
    fn from_context(context: &Context) -> Result<Self, TaskError>;
}

impl FromContext for Context {
    fn from_context(context: &Context) -> Result<Self, TaskError> {
        Ok(context.clone())
    }
}

/// A value of the application, given to the worker with `.state(value)`, as a parameter of a task.
#[derive(Debug)]
pub struct State<T: ?Sized>(pub Arc<T>);

impl<T: ?Sized> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> std::ops::Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> FromContext for State<T> {
    fn from_context(context: &Context) -> Result<Self, TaskError> {
        context.state().map(Self).ok_or_else(|| {
            TaskError::permanent(format!(
                "the worker has no State<{0}>: give it with .state(value of type {0})",
                type_name::<T>()
            ))
        })
    }
}
