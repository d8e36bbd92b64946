//! Code of the application around every run.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use windlass_core::task::{Answer, Erased, Job};
use windlass_core::{Context, Error, TaskError};

use super::lane::Slot;
use super::panic::{Panic, caught, caught_now};
use super::stuck::Threads;

/// The encoded result of a run, or how else it ended.
pub type RunResult = Result<Bytes, RunError>;

/// How a run ended that has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The task answered so.
    Task(TaskError),
    /// The arguments cannot be decoded; the task did not begin.
    Arguments(Error),
    /// The task panicked.
    Panic(Panic),
    /// The result cannot be encoded.
    Unencodable(Error),
    /// The runtime ended under it.
    Aborted,
}

/// Code around every run of a worker: inside the timeout, outside the task.
///
/// ```
/// use windlass_runtime::{Middleware, Next, RunResult};
/// use windlass_core::Context;
///
/// #[derive(Debug)]
/// struct Announce;
///
/// #[async_trait::async_trait]
/// impl Middleware for Announce {
///     async fn run(&self, context: &Context, next: Next<'_>) -> RunResult {
///         println!("{} begins", context.task());
///         next.run(context).await
///     }
/// }
/// ```
#[async_trait]
pub trait Middleware: fmt::Debug + Send + Sync + 'static {
    /// Runs the rest by `next.run(context)`, or answers in its place.
    async fn run(&self, context: &Context, next: Next<'_>) -> RunResult;
}

/// The rest of the way to the task.
#[derive(Debug)]
pub struct Next<'a> {
    pub(super) layers: &'a [Arc<dyn Middleware>],
    pub(super) inner: Inner<'a>,
}

impl Next<'_> {
    /// Goes on.
    ///
    /// # Cancel safety
    /// Dropping the future ends the run of an async task. A blocking one goes on to its end, and
    /// keeps its place among the running tasks until then.
    pub async fn run(self, context: &Context) -> RunResult {
        match self.layers {
            [first, rest @ ..] => first.run(context, Next { layers: rest, ..self }).await,
            [] => self.inner.run(context).await,
        }
    }
}

/// The task itself: from encoded arguments to an encoded result.
#[derive(Debug)]
pub(super) struct Inner<'a> {
    pub(super) handler: &'a Erased,
    pub(super) payload: &'a [u8],
    pub(super) slot: Arc<Slot>,
    pub(super) threads: &'a Threads<'a>,
}

impl Inner<'_> {
    pub(super) async fn run(self, context: &Context) -> RunResult {
        let caught = match self.handler.start(context.clone(), self.payload).map_err(RunError::Arguments)? {
            Job::Async(run) => caught(run).await,
            Job::Blocking(run) => {
                let slot = self.slot;
                let (_waiting, running) = self.threads.watch();
                let guarded = move || {
                    let _held = (slot, running);
                    caught_now(run)
                };
                tokio::task::spawn_blocking(guarded).await.map_err(|_| RunError::Aborted)?
            }
        };
        match caught {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(Answer::Task(error))) => Err(RunError::Task(error)),
            Ok(Err(Answer::Unencodable(error))) => Err(RunError::Unencodable(error)),
            Err(panic) => Err(RunError::Panic(panic)),
        }
    }
}
