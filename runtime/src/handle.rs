mod cancel;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::sleep;
use windlass_core::message::codec;
use windlass_core::{
    Backend, Broker, Clock, Error, ErrorKind, Failure, FailureKind, Location, QueueName, Record, Result, State, TaskId,
    Timestamp,
};

use crate::history::{self, Attempt};
use crate::progress::{self, ProgressStream};

/// The first look whether a task still exists comes early, for ids whose result has ended.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// Further looks.
const LOOK: Duration = Duration::from_secs(30);
/// Between the look that found nothing and the end of waiting.
const LAST_WORD: Duration = Duration::from_secs(1);
/// One wait of the backend; it is repeated.
const WAIT: Duration = Duration::from_secs(3600);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The task failed, and no retry is left.
    #[error("task {id} failed: {failure}")]
    Failed {
        /// The task.
        id: TaskId,
        /// Why.
        failure: Failure,
    },
    /// The task was cancelled.
    #[error("task {id} was cancelled{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Cancelled {
        /// The task.
        id: TaskId,
        /// Why, if it was said.
        reason: Option<String>,
    },
    /// The task was not started in time.
    #[error("task {id} expired before a worker started it")]
    Expired {
        /// The task.
        id: TaskId,
    },
    /// The task has not ended within the time that the caller allowed.
    #[error("task {id} has not ended within {waited:?}")]
    Timeout {
        /// The task.
        id: TaskId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The task succeeded and its result is not kept (any more).
    #[error("task {id} succeeded, but its result is not kept (setting: result_ttl)")]
    NotKept {
        /// The task.
        id: TaskId,
    },
    /// Neither broker nor backend know the task: it never was, or its retention is over.
    #[error("task {id} is unknown: it never was, or its retention is over (setting: status_ttl)")]
    Unknown {
        /// The task.
        id: TaskId,
    },
    /// There is no backend to ask.
    #[error("there is no result backend: set backend.url")]
    NoBackend,
    /// The result is not what it was expected to be, or the store failed.
    #[error(transparent)]
    Other(#[from] Error),
}

/// Where a task is, as far as broker and backend know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The state.
    pub state: State,
    /// The number of the last run that is recorded; 0 if none is, as while the first run is under way.
    pub attempt: u32,
    /// The last failure, if there was one.
    pub failure: Option<Failure>,
    /// When it becomes due, if it waits for its time.
    pub due: Option<Timestamp>,
}

/// A handle to one task; `O` is the type of its result. Cheap to clone.
pub struct TaskHandle<O> {
    id: TaskId,
    queue: QueueName,
    /// If it was enqueued here: when it becomes due.
    sent: Option<Timestamp>,
    /// It was given to somebody who publishes it later (an outbox): until then, no store knows it.
    deferred: bool,
    broker: Arc<dyn Broker>,
    backend: Option<Arc<dyn Backend>>,
    clock: Arc<dyn Clock>,
    output: PhantomData<fn() -> O>,
}

impl<O> TaskHandle<O> {
    pub(crate) fn new(
        id: TaskId,
        queue: QueueName,
        sent: Option<Timestamp>,
        broker: Arc<dyn Broker>,
        backend: Option<Arc<dyn Backend>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { id, queue, sent, deferred: false, broker, backend, clock, output: PhantomData }
    }

    /// The same handle, to a task that somebody publishes later.
    pub(crate) fn deferred(self) -> Self {
        Self { deferred: true, ..self }
    }

    /// The id of the task.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The queue of the task.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Whether `enqueue` made a new task; `false` if one of this id was already there.
    pub fn is_new(&self) -> bool {
        self.sent.is_some()
    }

    /// Where the task is; `None` if neither broker nor backend know it (any more).
    ///
    /// Some brokers cannot tell what they hold, and an outbox has not yet told any. There, a task that
    /// was enqueued through this handle is said to wait until a worker records something about it.
    ///
    /// # Errors
    /// `Unavailable` if a store cannot be reached.
    pub async fn status(&self) -> Result<Option<Status>> {
        // The broker is asked first: what leaves it has been saved before.
        let can_locate = self.broker.capabilities().locate;
        let location = if can_locate { self.broker.locate(&self.queue, &self.id).await? } else { None };
        let known = status(location, self.load().await?);
        let unseen = self.sent.filter(|_| self.deferred || !can_locate);
        Ok(known.or_else(|| unseen.map(|due| self.waits(due))))
    }

    fn waits(&self, due: Timestamp) -> Status {
        let due = Some(due).filter(|due| *due > self.clock.now());
        let state = if due.is_some() { State::Scheduled } else { State::Queued };
        Status { state, attempt: 0, failure: None, due }
    }

    /// The attempts of the task that did not end well, the first one first: those that failed, took too
    /// long, or were lost with their worker. Kept as long as the status. A task that never failed has none.
    ///
    /// # Errors
    /// `Unsupported` without a backend that keeps notes; `Unavailable` if it cannot be reached.
    pub async fn history(&self) -> Result<Vec<Attempt>> {
        history::read(self.backend.as_ref(), &self.id).await
    }

    /// Follows what the task tells about its progress ([`Context::progress`](windlass_core::Context::progress)),
    /// until it has ended; `P` is what its values are read as.
    ///
    /// ```
    /// # async fn follow(handle: windlass_runtime::TaskHandle<()>) -> windlass_core::Result<()> {
    /// let mut progress = handle.progress::<u32>().await?;
    /// while let Some(percent) = progress.next().await {
    ///     println!("{} %", percent?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` without a backend that keeps notes; `Unavailable` if it cannot be reached.
    pub async fn progress<P: DeserializeOwned>(&self) -> Result<ProgressStream<P>> {
        ProgressStream::open(self.retyped(), self.backend.as_ref()).await
    }

    /// What the task has told last about its progress; `None` if nothing.
    ///
    /// # Errors
    /// As [`TaskHandle::progress`]; `Codec` if the value is no `P`.
    pub async fn last_progress<P: DeserializeOwned>(&self) -> Result<Option<P>> {
        progress::last(self.backend.as_ref(), &self.id).await
    }

    fn retyped<T>(&self) -> TaskHandle<T> {
        let Self { id, queue, sent, deferred, broker, backend, clock, .. } = self;
        TaskHandle {
            id: id.clone(),
            queue: queue.clone(),
            sent: *sent,
            deferred: *deferred,
            broker: Arc::clone(broker),
            backend: backend.clone(),
            clock: Arc::clone(clock),
            output: PhantomData,
        }
    }

    async fn load(&self) -> Result<Option<Record>> {
        match &self.backend {
            Some(backend) => Ok(backend.load(std::slice::from_ref(&self.id)).await?.pop().flatten()),
            None => Ok(None),
        }
    }
}

impl<O: DeserializeOwned> TaskHandle<O> {
    /// Waits until the task has ended and gives its result. Pushed by the backend, not polled.
    ///
    /// Over a broker that cannot tell what it holds (RabbitMQ), an id that never was is waited for
    /// without end: use [`TaskHandle::result_within`] there.
    ///
    /// # Errors
    /// See [`ResultError`].
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn result(&self) -> Result<O, ResultError> {
        self.wait(None).await
    }

    /// As [`TaskHandle::result`], but gives up after `limit`. The task itself goes on.
    ///
    /// # Errors
    /// See [`ResultError`].
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn result_within(&self, limit: Duration) -> Result<O, ResultError> {
        self.wait(Some(limit)).await
    }

    async fn wait(&self, limit: Option<Duration>) -> Result<O, ResultError> {
        let backend = self.backend.as_ref().ok_or(ResultError::NoBackend)?;
        let give_up = async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let waited = || ResultError::Timeout { id: self.id.clone(), waited: limit.unwrap_or_default() };
        tokio::select! {
            biased;
            record = self.record(&**backend) => self.decode(record?),
            error = self.missed() => Err(error),
            () = give_up => Err(waited()),
        }
    }

    async fn record(&self, backend: &dyn Backend) -> Result<Record> {
        loop {
            if let Some(record) = backend.wait(&self.id, WAIT).await? {
                return Ok(record);
            }
        }
    }

    /// Looks now and then whether there is anything to wait for, and ends when there is not. What
    /// ended meanwhile has a moment to be told, because it may not be kept.
    async fn missed(&self) -> ResultError {
        let mut look = FIRST_LOOK;
        loop {
            sleep(look).await;
            look = LOOK;
            if let Err(error) = self.check_exists().await {
                sleep(LAST_WORD).await;
                return error;
            }
        }
    }

    async fn check_exists(&self) -> Result<(), ResultError> {
        if !self.broker.capabilities().locate {
            return Ok(());
        }
        let id = self.id.clone();
        match self.status().await {
            Ok(None) => Err(ResultError::Unknown { id }),
            Ok(Some(Status { state: State::Failed, failure: None, .. })) => {
                let text = "it is among the dead letters; why is not kept any more (setting: status_ttl)";
                Err(ResultError::Failed { id, failure: Failure::new(FailureKind::Error, text, 0) })
            }
            Ok(Some(_)) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Closed => Err(error.into()),
            // An outage is waited for.
            Err(_) => Ok(()),
        }
    }

    fn decode(&self, record: Record) -> Result<O, ResultError> {
        let id = self.id.clone();
        match (record.state, record.result) {
            (State::Succeeded, Some(result)) => {
                Ok(codec::decode("result", &result).map_err(|error| error.with_task(id))?)
            }
            (State::Succeeded, None) => Err(ResultError::NotKept { id }),
            (State::Cancelled, _) => {
                let reason = record.failure.map(|failure| failure.message).filter(|reason| !reason.is_empty());
                Err(ResultError::Cancelled { id, reason })
            }
            (State::Expired, _) => Err(ResultError::Expired { id }),
            (state, _) => match record.failure {
                Some(failure) => Err(ResultError::Failed { id, failure }),
                None => Err(Error::new(ErrorKind::Internal, "result", format!("the record is {state}"))
                    .with_task(id)
                    .into()),
            },
        }
    }
}

fn status(location: Option<Location>, record: Option<Record>) -> Option<Status> {
    let (attempt, failure) = record.as_ref().map_or((0, None), |record| (record.attempt, record.failure.clone()));
    let (state, due) = match (&record, location) {
        // A dead letter that was put back is where the broker has it.
        (Some(record), location)
            if record.state.is_final() && !(record.state == State::Failed && is_back(record, location)) =>
        {
            (record.state, None)
        }
        (_, Some(Location::Running { .. })) => (State::Running, None),
        (_, Some(Location::Scheduled { due, retrying: true })) => (State::Retrying, Some(due)),
        (_, Some(Location::Scheduled { due, retrying: false })) => (State::Scheduled, Some(due)),
        (_, Some(Location::Queued)) => (State::Queued, None),
        (_, Some(Location::Dead)) => (State::Failed, None),
        (Some(record), None) => (record.state, None),
        (None, None) => return None,
    };
    Some(Status { state, attempt, failure, due })
}

/// Whether what has failed waits or runs again. The claim that it failed under is held until the
/// broker is told.
fn is_back(failed: &Record, location: Option<Location>) -> bool {
    match location {
        Some(Location::Running { token }) => token > failed.token,
        Some(Location::Queued | Location::Scheduled { .. }) => true,
        Some(Location::Dead) | None => false,
    }
}

impl<O> Clone for TaskHandle<O> {
    fn clone(&self) -> Self {
        self.retyped()
    }
}

impl<O> fmt::Debug for TaskHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle").field("id", &self.id).field("queue", &self.queue).finish_non_exhaustive()
    }
}
