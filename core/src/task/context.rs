use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::TaskError;
use crate::message::Headers;
use crate::{QueueName, TaskId, TaskName, Timestamp};

/// Why a running task should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interrupt {
    /// The worker shuts down; what is not finished in time is given back, without counting.
    Shutdown,
    /// The claim was lost: another worker has the task, and the result of this run is refused.
    LeaseLost,
    /// The soft timeout has passed.
    SoftTimeout,
}

/// How a worker tells a running task that it should end. Workers implement it; tasks use
/// [`Context::interrupted`].
pub trait Signal: fmt::Debug + Send + Sync {
    /// The reason, if there is one by now.
    fn interrupt(&self) -> Option<Interrupt>;

    /// Waits until there is a reason.
    fn interrupted(&self) -> Pin<Box<dyn Future<Output = Interrupt> + Send + '_>>;
}

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
    /// The headers of the call.
    pub headers: Headers,
    /// The values of the application.
    pub shared: Arc<Shared>,
    /// How it is told to end.
    pub signal: Arc<dyn Signal>,
}

impl Context {
    /// Makes a context from its parts.
    pub fn new(parts: ContextParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The id of the task; the same in every run of it. Use it to make effects idempotent.
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

    /// The headers that the call carries.
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// The value of the application of that type.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.shared.get()
    }

    /// Why this run should end, if it should. For loops in blocking tasks.
    pub fn interrupt(&self) -> Option<Interrupt> {
        self.0.signal.interrupt()
    }

    /// Waits until this run should end. For `select!` in async tasks.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn interrupted(&self) -> Interrupt {
        self.0.signal.interrupted().await
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
