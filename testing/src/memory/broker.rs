use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use windlass_core::message::{Schedule, wire};
use windlass_core::{
    Broker, CancelOutcome, Capabilities, Clock, DeadLetter, DeadPage, Delivery, Disposition, Error, ErrorKind,
    FetchRequest, LeaseStatus, Location, Message, Priority, PublishOutcome, QueueLimit, QueueName, Receipt, Replay,
    Result, SettleOutcome, Settlement, TaskId, Timestamp, Token, Undecodable, limits,
};

use super::queue::{Counts, Entry, Place, Queue};
use crate::TokioClock;

/// A broker in the memory of this process. Clones share everything.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use windlass_core::{Broker, FetchRequest, Message};
/// use windlass_testing::MemoryBroker;
///
/// let broker = MemoryBroker::new();
/// broker.publish(&[Message::new("t1".parse()?, "math".parse()?, "add".parse()?, "[2,3]".into())]).await?;
/// let lease = std::time::Duration::from_secs(30);
/// let claimed = broker.fetch(&FetchRequest::new("math".parse()?, 10, lease)).await?;
/// assert_eq!(claimed.len(), 1);
/// # Ok::<_, windlass_core::Error>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<QueueName, Slot>,
    token: u64,
    /// How many messages were published.
    published: u64,
    /// Tells of every settlement, cancellation and replay.
    changes: watch::Sender<()>,
    closed: bool,
}

/// A queue and the bell that wakes those who wait for it.
///
/// One ring wakes one of them; whoever stops waiting rings for the next, so that somebody always knows
/// when the next message becomes due.
#[derive(Debug, Default)]
struct Slot {
    queue: Queue,
    bell: Arc<Notify>,
    /// When somebody was told last that there is something, and has not fetched since.
    told: Option<Timestamp>,
}

/// Whoever was told to fetch and has not done so for this long is not relied on any more.
const TRUST: Duration = Duration::from_millis(100);

impl MemoryBroker {
    /// An empty broker.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts bytes into a queue as they are, as a program with a plain client would.
    pub fn push_raw(&self, queue: &QueueName, id: &TaskId, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let priority = content(id, queue, &bytes).map(|message| message.priority()).unwrap_or_default();
        let fresh = Fresh { bytes, priority, schedule: Schedule::Now, limit: None };
        self.lock().publish(queue, id, fresh, TokioClock.now());
    }

    /// Every message that waits, with the time at which it is due if that is not now, in the order of
    /// publishing. Bytes that are no message are left out.
    pub fn waiting(&self) -> Vec<(Message, Option<Timestamp>)> {
        let state = self.lock();
        let mut found: Vec<(u64, Message, Option<Timestamp>)> = Vec::new();
        for (name, slot) in &state.queues {
            for (id, entry) in slot.queue.waiting() {
                let due = if let Place::Delayed((due, _)) = entry.place { Some(due) } else { None };
                if let Ok(message) = wire::decode(id.clone(), name.clone(), &entry.bytes) {
                    found.push((entry.published, message, due));
                }
            }
        }
        found.sort_by_key(|(published, ..)| *published);
        found.into_iter().map(|(_, message, due)| (message, due)).collect()
    }

    /// How many messages are in which place, over all queues.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let mut state = self.lock();
        let now = TokioClock.now();
        for slot in state.queues.values_mut() {
            slot.queue.turn(now);
            slot.queue.count(&mut counts);
        }
        counts
    }

    /// Whether it holds nothing any more: no message, no dead letter, no remembered id, no waiter.
    pub fn is_empty(&self) -> bool {
        let mut state = self.lock();
        let names: Vec<QueueName> = state.queues.keys().cloned().collect();
        for name in names {
            state.on_queue(&name, |_, _| ());
        }
        state.queues.is_empty()
    }

    /// Changes whenever messages are settled, cancelled or replayed.
    #[cfg(feature = "harness")]
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.lock().changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no step panics while it holds the state")
    }

    /// The state, unless the broker is closed.
    fn open(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed { Err(Error::new(ErrorKind::Closed, operation, "the broker was closed")) } else { Ok(state) }
    }

    /// As [`State::on_queue`], unless the broker is closed.
    fn on_queue<T: Default>(
        &self,
        operation: &'static str,
        name: &QueueName,
        step: impl FnOnce(&mut Queue, Timestamp) -> T,
    ) -> Result<T> {
        Ok(self.open(operation)?.on_queue(name, step))
    }

    /// Whether somebody who waits (`patient`) or has just come should fetch, and otherwise how long
    /// to wait for the bell before asking again.
    fn look(&self, name: &QueueName, patient: bool) -> Result<Look> {
        let mut state = self.open("ready")?;
        let slot = state.queues.entry(name.clone()).or_default();
        let now = TokioClock.now();
        slot.queue.turn(now);
        if !slot.queue.has_ready() {
            return Ok(Look::Wait(slot.queue.next_event().map(|at| at.since(now))));
        }
        // One message should not wake everybody.
        match slot.told.map(|told| told.plus(TRUST)).filter(|until| patient && *until > now) {
            Some(until) => Ok(Look::Wait(Some(until.since(now)))),
            None => {
                slot.told = Some(now);
                Ok(Look::Fetch)
            }
        }
    }

    fn wait_for(&self, name: &QueueName) -> Waiting<'_> {
        let bell = Arc::clone(&self.lock().queues.entry(name.clone()).or_default().bell);
        Waiting { broker: self, name: name.clone(), bell }
    }
}

/// A message that comes into its queue.
struct Fresh {
    bytes: Bytes,
    priority: Priority,
    schedule: Schedule,
    limit: Option<QueueLimit>,
}

enum Look {
    Fetch,
    Wait(Option<Duration>),
}

impl State {
    /// Puts a message into its queue, if it is taken there.
    fn publish(&mut self, queue: &QueueName, id: &TaskId, fresh: Fresh, now: Timestamp) -> PublishOutcome {
        self.published += 1;
        let slot = self.queues.entry(queue.clone()).or_default();
        slot.queue.turn(now);
        let Fresh { bytes, priority, schedule, limit } = fresh;
        let entry = Entry::new(bytes, priority, self.published);
        let outcome = slot.queue.publish(id.clone(), entry, schedule, limit, now);
        slot.bell.notify_one();
        outcome
    }

    /// Runs `step` on a queue that was brought up to the present, and drops the queue if it is empty.
    fn on_queue<T: Default>(&mut self, name: &QueueName, step: impl FnOnce(&mut Queue, Timestamp) -> T) -> T {
        let Some(slot) = self.queues.get_mut(name) else { return T::default() };
        let now = TokioClock.now();
        slot.queue.turn(now);
        let answer = step(&mut slot.queue, now);
        slot.bell.notify_one();
        self.changes.send_replace(());
        self.tidy(name);
        answer
    }

    /// Drops a queue that holds nothing and that nobody waits for.
    fn tidy(&mut self, name: &QueueName) {
        if let Some(slot) = self.queues.get(name)
            && slot.queue.is_empty()
            && Arc::strong_count(&slot.bell) == 1
        {
            self.queues.remove(name);
        }
    }
}

/// Somebody who waits for a queue; rings for the next when it ends.
struct Waiting<'a> {
    broker: &'a MemoryBroker,
    name: QueueName,
    bell: Arc<Notify>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.broker.lock();
        self.bell.notify_one();
        // From here on only the queue itself holds the bell, if nobody else waits.
        self.bell = Arc::default();
        state.tidy(&self.name);
    }
}

fn content(id: &TaskId, queue: &QueueName, bytes: &Bytes) -> Result<Message, Undecodable> {
    wire::decode(id.clone(), queue.clone(), bytes).map_err(|malformed| Undecodable { malformed, bytes: bytes.clone() })
}

fn letter(id: &TaskId, queue: &QueueName, entry: &Entry) -> Option<DeadLetter> {
    let Place::Dead((died_at, _), reason) = &entry.place else { return None };
    Some(DeadLetter {
        id: id.clone(),
        died_at: *died_at,
        reason: reason.clone(),
        progress: entry.progress,
        content: content(id, queue, &entry.bytes),
    })
}

fn parse_cursor(cursor: &str) -> Result<(Timestamp, i64)> {
    let parts = cursor.split_once('-').and_then(|(at, number)| Some((at.parse().ok()?, number.parse().ok()?)));
    let (at, number) = parts.ok_or_else(|| Error::invalid("cursor", format_args!("{cursor:?}"), "one of a page"))?;
    Ok((Timestamp::from_micros(at), number))
}

#[async_trait]
impl Broker for MemoryBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all("memory")
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        let limit = self.capabilities().max_payload;
        let mut state = self.open("publish")?;
        let now = TokioClock.now();
        let mut publish = |message: &Message| {
            if let Err(error) = limits::check_payload(message.payload.len(), limit) {
                return PublishOutcome::Rejected(error.with_task(message.id.clone()));
            }
            let bytes = wire::encode(message);
            let (priority, schedule, limit) = (message.priority(), message.schedule, message.limit);
            state.publish(&message.queue, &message.id, Fresh { bytes, priority, schedule, limit }, now)
        };
        Ok(messages.iter().map(&mut publish).collect())
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        let waiting = self.wait_for(queue);
        let mut patient = false;
        loop {
            let bell = Arc::clone(&waiting.bell);
            let mut rung = std::pin::pin!(bell.notified());
            // From here on every ring counts, also one between the look and the wait.
            rung.as_mut().enable();
            let next = match self.look(queue, patient)? {
                Look::Fetch => return Ok(()),
                Look::Wait(next) => next,
            };
            if Instant::now() >= deadline {
                return Ok(());
            }
            patient = true;
            let until = next.map_or(deadline, |span| deadline.min(Instant::now() + span));
            let _ = tokio::time::timeout_at(until, rung).await;
        }
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        let mut state = self.open("fetch")?;
        let State { queues, token, .. } = &mut *state;
        let Some(slot) = queues.get_mut(&request.queue) else { return Ok(Vec::new()) };
        let now = TokioClock.now();
        slot.queue.turn(now);
        slot.told = None;
        let claims = slot.queue.claim(request.max.max(1), request.reserve, now.plus(request.lease), || {
            *token += 1;
            Token(*token)
        });
        slot.bell.notify_one();
        state.tidy(&request.queue);
        drop(state);
        let delivery = |(id, token, progress, bytes): (TaskId, Token, _, Bytes)| {
            let content = content(&id, &request.queue, &bytes);
            Delivery { receipt: Receipt { queue: request.queue.clone(), id, token }, progress, content }
        };
        Ok(claims.into_iter().map(delivery).collect())
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        let mut state = self.open("extend")?;
        let until = TokioClock.now().plus(lease);
        let extend = |receipt: &Receipt| {
            let slot = state.queues.get_mut(&receipt.queue);
            match slot.is_some_and(|slot| slot.queue.extend(&receipt.id, receipt.token, until)) {
                true => LeaseStatus::Held,
                false => LeaseStatus::Lost,
            }
        };
        Ok(receipts.iter().map(extend).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        let mut outcomes = vec![SettleOutcome::Lost; settlements.len()];
        // Released ones go to the head, so the last goes first: they keep their order.
        let is_release = |settlement: &Settlement| settlement.disposition == Disposition::Release;
        let (released, others): (Vec<_>, Vec<_>) =
            settlements.iter().enumerate().partition(|(_, settlement)| is_release(settlement));
        let mut state = self.open("settle")?;
        for (index, settlement) in others.into_iter().chain(released.into_iter().rev()) {
            if state.on_queue(&settlement.receipt.queue, |queue, now| queue.settle(settlement, now)) {
                outcomes[index] = SettleOutcome::Settled;
            }
        }
        Ok(outcomes)
    }

    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        let cancelled = self.on_queue("cancel", queue, |queue, _| match queue.get(id).map(|entry| &entry.place) {
            Some(Place::Ready(_) | Place::Delayed(_)) => {
                queue.remove(id);
                Some(CancelOutcome::Cancelled)
            }
            Some(Place::Claimed(..)) => Some(CancelOutcome::Running),
            Some(Place::Dead(..)) | None => None,
        })?;
        Ok(cancelled.unwrap_or(CancelOutcome::NotFound))
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        self.on_queue("locate", queue, |queue, _| queue.get(id).map(Entry::location))
    }

    async fn dead_letters(&self, name: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        let after = cursor.map(parse_cursor).transpose()?;
        self.on_queue("dead letters", name, |queue, _| {
            let mut dead = queue.dead(after).peekable();
            let mut page = DeadPage::default();
            let mut last = None;
            for (key, id, entry) in dead.by_ref().take(max) {
                page.letters.extend(letter(id, name, entry));
                last = Some(key);
            }
            page.next =
                last.filter(|_| dead.peek().is_some()).map(|(at, number)| format!("{}-{number}", at.as_micros()));
            page
        })
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        let limit = self.capabilities().max_payload;
        for letter in letters {
            letter.edited.as_ref().map_or(Ok(()), |edited| edited.check(limit))?;
        }
        self.on_queue("replay", queue, |queue, _| letters.iter().filter(|letter| queue.replay(letter)).count())
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.on_queue("discard", queue, |queue, _| ids.iter().filter(|id| queue.discard(id)).count())
    }

    fn risks(&self) -> Vec<String> {
        vec!["it is in the memory of this process, and ends with it".to_owned()]
    }

    async fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for slot in state.queues.values() {
            slot.bell.notify_waiters();
        }
    }
}
