use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;

use crate::message::{Arguments, Priority};
use crate::policy::{Backoff, RetryOn};
use crate::{Error, IntoDuration, Options, QueueName, Result, Retention, TaskId, TaskName, Timestamp};

/// A task with its arguments, ready to be enqueued; `O` is the type of its result.
///
/// What is wrong with it (a bad name, a negative delay, arguments that cannot be encoded) is told
/// by `enqueue`, before anything is sent.
///
/// `I` says what is missing: nothing, or the first argument (see [`Step`]).
#[must_use = "a call does nothing until it is enqueued"]
#[derive(Debug)]
pub struct Call<O, I = Complete> {
    parts: Result<CallParts>,
    types: PhantomData<fn(I) -> O>,
}

/// Marks a [`Call`] that has all its arguments.
#[derive(Debug)]
pub struct Complete;

/// Marks a [`Call`] whose first argument, of type `I`, is what another task ends with.
#[derive(Debug)]
pub struct After<I>(PhantomData<I>);

/// A call without its first argument, which is the result of what it follows in a workflow: `I` is the
/// type of that argument, `O` that of its own result.
pub type Step<I, O> = Call<O, After<I>>;

/// What a [`Call`] is made of.
#[derive(Debug, Clone)]
pub struct CallParts {
    /// The wire name.
    pub task: TaskName,
    /// The encoded arguments.
    pub payload: Bytes,
    /// The id that the caller chose.
    pub id: Option<TaskId>,
    /// What the call asks for.
    pub options: Options,
    /// What the task asks for wherever the call does not.
    pub task_options: Options,
}

impl<O> Call<O> {
    /// A call of the task `name` with options of the task level.
    pub fn new<A: Arguments>(name: &str, args: &A, task_options: Options) -> Self {
        Self::of(name, args, task_options)
    }

    /// A call whose payload was encoded elsewhere, for example by another language.
    pub fn raw(name: &str, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        let parts = TaskName::new(name).map(|task| CallParts {
            task,
            payload,
            id: None,
            options: Options::default(),
            task_options: Options::default(),
        });
        Self { parts, types: PhantomData }
    }
}

impl<I, O> Step<I, O> {
    /// A call of the task `name` with the arguments after its first one, and options of the task level.
    pub fn after<A: Arguments>(name: &str, rest: &A, task_options: Options) -> Self {
        Self::of(name, rest, task_options)
    }
}

impl<O, I> Call<O, I> {
    fn of<A: Arguments>(name: &str, args: &A, task_options: Options) -> Self {
        let parts = TaskName::new(name).and_then(|task| {
            let payload = args.encode().map_err(|error| error.with("task", name))?;
            Ok(CallParts { task, payload, id: None, options: Options::default(), task_options })
        });
        Self { parts, types: PhantomData }
    }

    /// The parts, or the first thing that is wrong.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] or [`crate::ErrorKind::Codec`].
    pub fn into_parts(self) -> Result<CallParts> {
        self.parts
    }

    fn map(mut self, change: impl FnOnce(&mut CallParts) -> Result<()>) -> Self {
        if let Ok(parts) = &mut self.parts
            && let Err(error) = change(parts)
        {
            self.parts = Err(error);
        }
        self
    }

    fn option(self, change: impl FnOnce(&mut Options)) -> Self {
        self.map(|parts| {
            change(&mut parts.options);
            Ok(())
        })
    }

    fn span(self, field: &'static str, span: impl IntoDuration, set: impl FnOnce(&mut Options, Duration)) -> Self {
        self.map(|parts| {
            let span = span.into_duration().map_err(|error| Error::new(error.kind(), field, error.message()))?;
            set(&mut parts.options, span);
            Ok(())
        })
    }

    /// Chooses the id: enqueueing the same id again, while the task exists or is remembered, does
    /// nothing and gives a handle to the same task.
    pub fn id(self, id: impl AsRef<str>) -> Self {
        self.map(|parts| {
            let id = TaskId::new(id)?;
            if id.with_str(crate::flow::is_node_id) {
                let allowed = "not \"::\" and a number at the end, which only tasks of workflows have";
                return Err(Error::invalid("task id", format_args!("{:?}", id.to_string()), allowed));
            }
            parts.id = Some(id);
            Ok(())
        })
    }

    /// Waits in this queue.
    pub fn queue(self, queue: impl AsRef<str>) -> Self {
        self.map(|parts| {
            parts.options.queue = Some(QueueName::new(queue)?);
            Ok(())
        })
    }

    /// How urgent it is among those that wait in its queue.
    pub fn priority(self, priority: Priority) -> Self {
        self.option(|options| options.priority = Some(priority))
    }

    /// Runs this long after it was accepted.
    pub fn delay(self, delay: impl IntoDuration) -> Self {
        self.span("delay", delay, |options, delay| options.delay = Some(delay))
    }

    /// Runs at this time. Celery calls it `eta`.
    #[doc(alias = "eta")]
    pub fn run_at(self, at: impl Into<Timestamp>) -> Self {
        let at = at.into();
        self.option(|options| options.run_at = Some(at))
    }

    /// Is not started later than this long after now.
    pub fn expires(self, span: impl IntoDuration) -> Self {
        self.span("expires", span, |options, span| options.expires = Some(span))
    }

    /// Is finished at this time, retries included.
    pub fn deadline(self, at: impl Into<Timestamp>) -> Self {
        let at = at.into();
        self.option(|options| options.deadline = Some(at))
    }

    /// Retries after the first run.
    pub fn max_retries(self, retries: u32) -> Self {
        self.option(|options| options.max_retries = Some(retries))
    }

    /// The pause before each retry.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.map(|parts| {
            backoff.check()?;
            parts.options.backoff = Some(backoff);
            Ok(())
        })
    }

    /// What is retried at all.
    pub fn retry_on(self, on: RetryOn) -> Self {
        self.option(|options| options.retry_on = Some(on))
    }

    /// Stops a run after this long.
    pub fn timeout(self, span: impl IntoDuration) -> Self {
        self.span("timeout", span, |options, span| options.timeout = Some(span))
    }

    /// Signals a run after this long.
    pub fn soft_timeout(self, span: impl IntoDuration) -> Self {
        self.span("soft_timeout", span, |options, span| options.soft_timeout = Some(span))
    }

    /// Keeps the result this long.
    pub fn result_ttl(self, ttl: impl Into<Retention>) -> Self {
        let ttl = ttl.into();
        self.option(|options| options.result_ttl = Some(ttl))
    }

    /// Keeps the final state this long.
    pub fn status_ttl(self, ttl: impl Into<Retention>) -> Self {
        let ttl = ttl.into();
        self.option(|options| options.status_ttl = Some(ttl))
    }

    /// Adds a header that travels with the task.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.option(|options| {
            options.headers.insert(name, value);
        })
    }
}
