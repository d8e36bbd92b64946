use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use windlass_core::broker::Overflow;
use windlass_core::limits::{BATCH_ITEMS, PAYLOAD_BYTES};
use windlass_core::task::CallParts;
use windlass_core::{
    Backend, Broker, Call, Capabilities, Clock, DeadPage, Error, ErrorKind, Message, Options, Priority, PublishOutcome,
    QueueLimit, QueueName, Record, Result, Retention, Schedule, State, TaskId, Timestamp,
};

use crate::clock::{SystemClock, new_id};
use crate::dead::DeadLetters;
use crate::handle::TaskHandle;
use crate::ledger;
use crate::pause::in_time;
use crate::publisher::{Batch, Place, Publisher};
use crate::queues::Queue;

/// Batches of one `enqueue_many` that are under way at the same time.
const BATCHES_UNDER_WAY: usize = 2;

/// What a client does wherever neither call nor task says otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientSettings {
    /// Options of the configuration level.
    pub defaults: Options,
    /// Largest payload in bytes.
    pub payload_limit: usize,
    /// How long an id that the caller chose is remembered after the task is finished.
    pub remember: Duration,
    /// How many tasks may wait in which queue; see [`ClientSettings::check`].
    pub limits: HashMap<QueueName, QueueLimit>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        let (payload_limit, remember) = (PAYLOAD_BYTES, Duration::from_secs(3600));
        Self { defaults: Options::default(), payload_limit, remember, limits: HashMap::new() }
    }
}

impl ClientSettings {
    /// Checks whether a broker can do what is set.
    ///
    /// # Errors
    /// `Config` that names the key, the store and what to do.
    pub fn check(&self, broker: &Capabilities) -> Result<()> {
        let Capabilities { name, limit, drop_oldest, .. } = broker;
        for (queue, wanted) in &self.limits {
            let (key, cure) = match wanted.overflow {
                _ if !limit => ("max_length", "remove the key, or use another broker"),
                Overflow::DropOldest if !drop_oldest => ("overflow = \"drop-oldest\"", "set it to \"reject\""),
                _ => continue,
            };
            let text = format!("queues.{queue}.{key} is set, and {name} cannot do that: {cure}");
            return Err(Error::new(ErrorKind::Config, "queues", text));
        }
        Ok(())
    }
}

/// Sends tasks. Cheap to clone; every clone shares one publisher.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    broker: Arc<dyn Broker>,
    backend: Option<Arc<dyn Backend>>,
    clock: Arc<dyn Clock>,
    settings: ClientSettings,
    publisher: Publisher,
}

impl Client {
    /// A client over a broker and, where results are wanted, a backend.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(broker: Arc<dyn Broker>, backend: Option<Arc<dyn Backend>>, settings: ClientSettings) -> Self {
        Self::with_clock(broker, backend, settings, Arc::new(SystemClock))
    }

    /// As [`Client::new`], with a clock of the caller's, for tests.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_clock(
        broker: Arc<dyn Broker>,
        backend: Option<Arc<dyn Backend>>,
        settings: ClientSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let broker = ledger::over(broker, backend.as_ref(), &clock);
        let publisher = Publisher::start(Arc::clone(&broker));
        Self(Arc::new(Inner { broker, backend, clock, settings, publisher }))
    }

    /// Enqueues a task and gives a handle to it.
    ///
    /// Concurrent calls share a round trip. A call with an id that is already there enqueues
    /// nothing and gives a handle to the task that is; see [`TaskHandle::is_new`].
    ///
    /// # Errors
    /// * `Invalid`, `Codec`: the call is wrong; nothing was sent.
    /// * `Rejected`: the broker refused it; it will never run.
    /// * `Unavailable`: the broker cannot be reached; it was not enqueued.
    /// * `Unknown`: it may have been enqueued. Enqueue it again with the id that the error names
    ///   ([`Call::id`]): it is enqueued once, unless the broker cannot refuse an id (RabbitMQ), where
    ///   it can then run twice if neither has ended yet.
    ///
    /// # Cancel safety
    /// If the future is dropped, the task may have been enqueued.
    pub async fn enqueue<O>(&self, call: Call<O>) -> Result<TaskHandle<O>> {
        self.enqueue_part(call.into_parts()?).await
    }

    /// [`Client::enqueue`], for the parts of a call.
    pub(crate) async fn enqueue_part<O>(&self, call: CallParts) -> Result<TaskHandle<O>> {
        let message = self.message(call)?;
        let place = Place::of(&message);
        if place.chosen {
            self.renew(std::slice::from_ref(&place.id)).await;
        }
        let outcome = self.0.publisher.publish(message).await?;
        self.handle(place, outcome)
    }

    /// Enqueues a message that was prepared before and has an id of its own.
    #[cfg(feature = "periodic")]
    pub(crate) async fn send<O>(&self, message: Message) -> Result<TaskHandle<O>> {
        let place = Place::of(&message);
        let outcome = self.0.publisher.publish(message).await?;
        self.handle(place, outcome)
    }

    /// Enqueues many tasks in few round trips; the answers are in the order of `calls`.
    ///
    /// One bad call does not stop the others. Errors and cancel safety are those of
    /// [`Client::enqueue`], for each call.
    pub async fn enqueue_many<O>(&self, calls: impl IntoIterator<Item = Call<O>>) -> Vec<Result<TaskHandle<O>>> {
        self.enqueue_parts(calls.into_iter().map(Call::into_parts)).await
    }

    /// [`Client::enqueue_many`], for the parts of calls.
    pub(crate) async fn enqueue_parts<O>(
        &self,
        mut calls: impl Iterator<Item = Result<CallParts>>,
    ) -> Vec<Result<TaskHandle<O>>> {
        let mut handles = Vec::with_capacity(calls.size_hint().0);
        let mut under_way = VecDeque::with_capacity(BATCHES_UNDER_WAY);
        loop {
            let batch = Batch::new(calls.by_ref().take(BATCH_ITEMS).map(|call| self.message(call?)));
            let is_last = batch.places.is_empty();
            if !is_last {
                self.renew(&batch.chosen()).await;
                under_way.push_back(batch.send(&*self.0.broker).await);
            }
            // While one batch is under way the next one is encoded, so neither waits for the other.
            if under_way.len() == BATCHES_UNDER_WAY || is_last {
                let Some(sent) = under_way.pop_front() else { return handles };
                let handle = |(place, outcome): (Place, PublishOutcome)| self.handle(place, outcome);
                handles.extend(sent.answers().await.map(|answer| answer.and_then(handle)));
            }
        }
    }

    /// A handle to a task that was enqueued elsewhere; `O` is what its result is read as.
    pub fn handle_of<O>(&self, id: TaskId, queue: QueueName) -> TaskHandle<O> {
        self.handle_at(id, queue, None)
    }

    /// A handle to a task that is published when others have ended.
    pub(crate) fn handle_of_part<O>(&self, id: TaskId, queue: QueueName) -> TaskHandle<O> {
        self.handle_at(id, queue, Some(self.0.clock.now())).deferred()
    }

    /// The message of a call, for who publishes it by a way of his own (such as an outbox), and the
    /// handle to its task. Everything is checked as by [`Client::enqueue`].
    ///
    /// # Errors
    /// `Invalid`, `Codec`: the call is wrong.
    pub fn prepare<O>(&self, call: Call<O>) -> Result<(Message, TaskHandle<O>)> {
        let message = self.message(call.into_parts()?)?;
        let Place { id, queue, due, .. } = Place::of(&message);
        Ok((message, self.handle_at(id, queue, Some(due)).deferred()))
    }

    /// Lists tasks that failed for good, the oldest first, at most `max`; `cursor` is
    /// [`DeadPage::next`] of the page before.
    ///
    /// # Errors
    /// `Unavailable` if the broker cannot be reached, `Unsupported` if it keeps none.
    pub async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.0.broker.dead_letters(queue, cursor, max).await
    }

    /// Puts dead letters back into their queue, to run again with all their retries; answers how
    /// many of them there were.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` if the broker cannot be reached; the call can be repeated.
    pub async fn replay(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        DeadLetters::new(self.clone(), queue.clone()).replay(ids).await
    }

    /// The dead letters of a queue: to list, to replay, or to discard them.
    ///
    /// # Errors
    /// `Invalid` if that is no name of a queue.
    pub fn dead(&self, queue: impl AsRef<str>) -> Result<DeadLetters> {
        Ok(DeadLetters::new(self.clone(), QueueName::new(queue)?))
    }

    /// A queue as a whole: to pause, to resume, to purge, or to move its tasks.
    ///
    /// # Errors
    /// `Invalid` if that is no name of a queue.
    pub fn queue(&self, queue: impl AsRef<str>) -> Result<Queue> {
        Ok(Queue::new(self.clone(), QueueName::new(queue)?))
    }

    pub(crate) fn settings(&self) -> &ClientSettings {
        &self.0.settings
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }

    /// The backend, if there is one.
    pub fn backend(&self) -> Option<&Arc<dyn Backend>> {
        self.0.backend.as_ref()
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Where a broker removes what is cancelled, its id can be used anew at once: says to the backend
    /// that "cancelled" is no answer for the new task. (Ids of tasks that ended otherwise are
    /// remembered by the broker as long as what became of them is kept.)
    async fn renew(&self, ids: &[TaskId]) {
        let (Some(backend), [_, ..], true) = (&self.0.backend, ids, self.0.broker.capabilities().cancel) else {
            return;
        };
        let renew = async {
            let stored = backend.load(ids).await?.into_iter().flatten();
            let cancelled = stored.filter(is_cancelled_by_client);
            let queued: Vec<Record> = cancelled.map(|record| self.queued(record)).collect();
            if queued.is_empty() { Ok(()) } else { backend.save(&queued).await.map(drop) }
        };
        if let Err(error) = in_time("enqueue", renew).await {
            tracing::warn!(target: "windlass::client", %error, "if an id was used and cancelled before, it may answer so again");
        }
    }

    fn queued(&self, record: Record) -> Record {
        let kept = Retention::For(Duration::from_secs(86_400));
        Record { state: State::Queued, at: self.0.clock.now(), status_ttl: kept, result_ttl: kept, ..record }
    }

    fn full(&self, queue: &QueueName, waiting: u64) -> Error {
        let limit = self.0.settings.limits.get(queue).map_or(waiting, |limit| limit.max);
        let text = format!(
            "the queue {queue} is full: {waiting} tasks wait, {limit} may (setting: queues.{queue}.max_length); nothing was enqueued"
        );
        Error::new(ErrorKind::Full, "enqueue", text)
    }

    fn handle<O>(&self, place: Place, outcome: PublishOutcome) -> Result<TaskHandle<O>> {
        let Place { id, queue, due, .. } = place;
        let is_new = match outcome {
            PublishOutcome::Accepted => true,
            PublishOutcome::Duplicate => false,
            PublishOutcome::Full { waiting } => return Err(self.full(&queue, waiting).with_task(id)),
            PublishOutcome::Rejected(error) => return Err(error.with_task(id)),
        };
        tracing::debug!(target: "windlass::client", task_id = %id, queue = %queue, is_new, "enqueued");
        Ok(self.handle_at(id, queue, is_new.then_some(due)))
    }

    /// A handle to a task; `sent` if it was enqueued here, and then when it becomes due.
    fn handle_at<O>(&self, id: TaskId, queue: QueueName, sent: Option<Timestamp>) -> TaskHandle<O> {
        let Inner { broker, backend, clock, .. } = &*self.0;
        TaskHandle::new(id, queue, sent, Arc::clone(broker), backend.clone(), Arc::clone(clock))
    }

    /// Applies the precedence of the options and checks everything that can be checked here.
    pub(crate) fn message(&self, parts: CallParts) -> Result<Message> {
        let settings = &self.0.settings;
        let now = self.0.clock.now();
        let routing = |pick: fn(&Options) -> bool| {
            [&parts.options, &parts.task_options, &settings.defaults].into_iter().find(|options| pick(options))
        };
        let queue = routing(|options| options.queue.is_some()).and_then(|options| options.queue.clone());
        let expires = routing(|options| options.expires.is_some()).and_then(|options| options.expires);
        let priority = routing(|options| options.priority.is_some()).and_then(|options| options.priority);
        let priority = priority.filter(|priority| *priority != Priority::Normal);
        let schedule = routing(|options| options.run_at.is_some() || options.delay.is_some());
        let schedule = schedule.map_or(Schedule::Now, |options| schedule_of(options, now));
        let remember = parts.id.as_ref().map(|_| settings.remember);
        let options = Options { queue: None, delay: None, run_at: None, priority, expires, ..parts.options };
        let queue = queue.unwrap_or_default();
        let limit = if settings.limits.is_empty() { None } else { settings.limits.get(&queue).copied() };
        let message = Message {
            id: parts.id.unwrap_or_else(|| new_id(now)),
            queue,
            task: parts.task,
            schedule,
            enqueued_at: now,
            options,
            remember,
            limit,
            flow: None,
            unknown: Vec::new(),
            payload: parts.payload,
        };
        message.check(settings.payload_limit.min(self.0.broker.capabilities().max_payload))?;
        Ok(message)
    }
}

/// What a worker has ended as cancelled had a run, and its id is remembered by the broker as that of any
/// other task.
fn is_cancelled_by_client(record: &Record) -> bool {
    record.state == State::Cancelled && record.failure.as_ref().is_none_or(|failure| failure.attempt == 0)
}

fn schedule_of(options: &Options, now: Timestamp) -> Schedule {
    match (options.run_at, options.delay) {
        (Some(at), _) if at > now => Schedule::At(at),
        (None, Some(delay)) if !delay.is_zero() => Schedule::After(delay),
        _ => Schedule::Now,
    }
}
