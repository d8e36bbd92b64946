//! Limits of queues, which are answered for before anything is sent.
//!
//! A limit that RabbitMQ keeps is an argument of the queue: it cannot change any more, and whoever
//! declares the queue with another is shut out. So publishers count, and the queue knows of nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use windlass_core::broker::Overflow;
use windlass_core::{Error, ErrorKind, Message, QueueName, Result};

use crate::broker::Shared;
use crate::connection::pause;
use crate::count::{Count, Knowledge};
use crate::error::{NOT_FOUND, code, too_slow};
use crate::level::Slot;
use crate::route::delay_of;
use crate::topology::Topology;

/// How long somebody waits until nothing is on its way, and how often, before a rough count must do.
const ALONE: Duration = Duration::from_millis(500);
const ROUGH: u32 = 3;

/// The queues that this process has published to with a limit.
#[derive(Debug, Default)]
pub(crate) struct Gauges(Mutex<HashMap<QueueName, Arc<Gauge>>>);

/// One of them.
#[derive(Debug)]
struct Gauge {
    queue: QueueName,
    count: Mutex<Count>,
    /// One at a time asks the server, over a channel of its own.
    asking: tokio::sync::Mutex<Option<(u64, Channel)>>,
    /// Nothing is on its way any more.
    idle: Notify,
}

/// A place in a limited queue that a message has until something is known of it. Dropped before that,
/// it counts as sent, until the server is asked again.
#[derive(Debug)]
pub(crate) struct Ticket {
    gauge: Arc<Gauge>,
    due: Option<Instant>,
    is_refused: bool,
}

impl Ticket {
    /// Something is known of it.
    pub(crate) fn end(mut self, answer: &Result<()>) {
        self.is_refused = answer.as_ref().is_err_and(|error| error.kind() != ErrorKind::Unknown);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut count = self.gauge.lock();
        if self.is_refused {
            count.refused()
        } else {
            count.sent(self.due)
        }
        if count.is_idle() {
            self.gauge.idle.notify_waiters();
        }
    }
}

/// What is said of a message before it is sent.
#[derive(Debug)]
pub(crate) enum Admission {
    Place(Ticket),
    Full(u64),
    Refused(Error),
}

impl Gauges {
    fn of(&self, queue: &QueueName) -> Arc<Gauge> {
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Gauge {
            queue: queue.clone(),
            count: Mutex::new(Count::new(Instant::now())),
            asking: tokio::sync::Mutex::default(),
            idle: Notify::new(),
        };
        Arc::clone(gauges.entry(queue.clone()).or_insert_with(|| Arc::new(new())))
    }
}

/// Answers for messages that have a limit, in their order.
pub(crate) async fn admit(shared: &Arc<Shared>, messages: &[&Message], deadline: Instant) -> Result<Vec<Admission>> {
    let came = Instant::now();
    let mut queues: HashMap<&QueueName, (Arc<Gauge>, Result<()>)> = HashMap::new();
    for message in messages {
        if queues.contains_key(&message.queue) {
            continue;
        }
        let of_queue = messages.iter().filter(|other| other.queue == message.queue);
        let (count, least) = of_queue.fold((0, u64::MAX), |(count, least), other| (count + 1, least.min(most(other))));
        let gauge = shared.gauges.of(&message.queue);
        let asked = {
            let (worker, gauge) = (Arc::clone(shared), Arc::clone(&gauge));
            let known = async move { gauge.know(&worker, count, least, came, deadline).await };
            shared.spawner.start(known).await?
        };
        queues.insert(&message.queue, (gauge, asked));
    }
    let admit = |message: &&Message| match &queues[&message.queue] {
        _ if message.limit.is_some_and(|limit| limit.overflow != Overflow::Reject) => Admission::Refused(unsupported()),
        (gauge, Ok(())) => Gauge::admit(gauge, message),
        (_, Err(error)) => Admission::Refused(error.duplicate()),
    };
    Ok(messages.iter().map(admit).collect())
}

/// How many may wait in the queue of a message.
fn most(message: &Message) -> u64 {
    message.limit.map_or(u64::MAX, |limit| limit.max)
}

fn unsupported() -> Error {
    let text = "RabbitMQ cannot drop the oldest message of a full queue; only \"reject\" is possible as overflow";
    Error::new(ErrorKind::Unsupported, "publish", text)
}

impl Gauge {
    fn lock(&self) -> std::sync::MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, message: &Message) -> Admission {
        let now = Instant::now();
        match self.lock().admit(most(message), now) {
            Ok(()) => {
                let delay = u64::from(delay_of(message));
                let due = (delay > 0).then(|| now + Duration::from_secs(delay));
                Admission::Place(Ticket { gauge: Arc::clone(self), due, is_refused: false })
            }
            Err(waiting) => Admission::Full(waiting),
        }
    }

    /// Asks the server, unless what is known is enough to judge `count` messages by the limit `most`.
    async fn know(&self, shared: &Shared, count: u64, most: u64, came: Instant, deadline: Instant) -> Result<()> {
        let known = || self.lock().judge(count, most, came, Instant::now());
        let mut rough = 0;
        for attempt in 0.. {
            if known() == Knowledge::Enough {
                break;
            }
            let late = || too_slow("publish", false, shared.parts.sender.link.address());
            let mut turn = timeout_at(deadline, self.asking.lock()).await.map_err(|_| late())?;
            match known() {
                Knowledge::Enough => break,
                Knowledge::Missing => (),
                Knowledge::Rough if rough == ROUGH => break,
                Knowledge::Rough => {
                    rough += 1;
                    self.be_alone().await;
                }
            }
            let asked = Instant::now();
            self.lock().asked();
            let ready = self.ask(shared, &mut turn, deadline).await;
            self.lock().is_closed = false;
            match ready {
                Ok(ready) => self.lock().answered(asked, ready, most, Instant::now()),
                Err(error) => {
                    drop(turn);
                    let wait = pause(attempt);
                    if !error.is_retryable() || Instant::now() + wait >= deadline {
                        return Err(error);
                    }
                    sleep(wait).await;
                }
            }
        }
        Ok(())
    }

    /// Waits a moment until nothing is on its way; until the server has answered nobody else is judged.
    async fn be_alone(&self) {
        self.lock().is_closed = true;
        let until = Instant::now() + ALONE;
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.lock().is_idle() || timeout_at(until, idle).await.is_err() {
                return;
            }
        }
    }

    /// How many messages are ready on the server, or have come here and are not fetched.
    async fn ask(&self, shared: &Shared, kept: &mut Option<(u64, Channel)>, deadline: Instant) -> Result<u64> {
        let (link, topology) = (&shared.parts.sender.link, &shared.parts.topology);
        let live = shared.parts.sender.unblocked(deadline).await?;
        let mut is_declared = false;
        loop {
            let channel = match kept.take() {
                Some((generation, channel)) if generation == live.generation && channel.status().connected() => channel,
                _ => link.channel("publish", &live).await?,
            };
            let counted = link.patiently(&live, self.count_all(topology, &channel)).await;
            match counted {
                Some(Ok(ready)) => {
                    *kept = Some((live.generation, channel));
                    return Ok(ready + shared.buffered(&self.queue));
                }
                Some(Err(cause)) if code(&cause) == Some(NOT_FOUND) && !is_declared => {
                    topology.slots(link, &live, &self.queue, &Slot::ALL).await?;
                    is_declared = true;
                }
                other => return link.named("publish", other),
            }
        }
    }

    async fn count_all(&self, topology: &Topology, channel: &Channel) -> lapin::Result<u64> {
        let count = |slot| {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let name = topology.names.slot(&self.queue, slot);
            channel.queue_declare(name.into(), passive, FieldTable::default())
        };
        let levels = try_join_all(Slot::ALL.map(count)).await?;
        Ok(levels.iter().map(|level| u64::from(level.message_count())).sum())
    }
}
