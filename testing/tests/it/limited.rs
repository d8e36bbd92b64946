//! The suite is fair to brokers that can do less: one without leases, fencing, cancelling and finding, which
//! pushes messages into a local buffer, as RabbitMQ does.
//!
//! A first fetch finds nothing, because the push comes later; delays are whole seconds; claims end with
//! the instance.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_core::message::Schedule;
use windlass_core::{
    Broker, CancelOutcome, Capabilities, Clock, DeadPage, Delivery, Disposition, Error, ErrorKind, FetchRequest,
    LeaseStatus, Location, Message, Priority, PublishOutcome, QueueName, Receipt, Replay, Reserve, Result,
    SettleOutcome, Settlement, TaskId, Token,
};
use windlass_testing::{MemoryBroker, TokioClock};

use crate::broken::{at_once, checks, must_fail};

/// Delays are rounded up to a multiple of this.
const STEP: Duration = Duration::from_secs(1);
/// At most this much is pushed ahead.
const WINDOW: usize = 100;
/// What nobody has fetched for this long is given back.
const IDLE: Duration = Duration::from_secs(2);

/// Tokens of all instances, as a clock would give them.
static TOKEN: AtomicU64 = AtomicU64::new(1);

/// What a limited broker may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Sound,
    ForgetsWithItsConnection,
    ForgetsWhatIsHeld,
    Hoards,
}

#[derive(Debug)]
struct Limited {
    store: MemoryBroker,
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<QueueName, Local>,
    held: HashMap<Token, Delivery>,
    closed: bool,
}

/// What was pushed for one queue, the most urgent first.
#[derive(Debug)]
struct Local {
    buffer: VecDeque<Delivery>,
    bell: Arc<Notify>,
    used: Instant,
}

fn urgency(delivery: &Delivery) -> Priority {
    delivery.content.as_ref().map_or_else(|_| Priority::default(), Message::priority)
}

fn rounded(span: Duration) -> Duration {
    STEP * u32::try_from(span.as_millis().div_ceil(STEP.as_millis())).unwrap()
}

fn given_back(delivery: &Delivery, losses: u32) -> Settlement {
    let mut progress = delivery.progress;
    progress.losses += losses;
    let (receipt, state) = (delivery.receipt.clone(), windlass_core::State::Queued);
    Settlement { receipt, disposition: Disposition::Release, progress, state, remember: None, reason: None }
}

impl Local {
    fn push(&mut self, delivery: Delivery) {
        let after = self.buffer.iter().rposition(|other| urgency(other) >= urgency(&delivery));
        self.buffer.insert(after.map_or(0, |index| index + 1), delivery);
        self.bell.notify_one();
    }

    /// What a fetch gets: first what is kept for each priority, then the most urgent; in the order of the buffer.
    fn take(&mut self, max: usize, reserve: Reserve) -> Vec<Delivery> {
        let mut picked = BTreeSet::new();
        for priority in Priority::ALL.into_iter().rev() {
            let places = reserve.of(priority).min(max - picked.len());
            let of_it = self.buffer.iter().enumerate().filter(|(_, delivery)| urgency(delivery) == priority);
            picked.extend(of_it.map(|(index, _)| index).take(places));
        }
        let others: Vec<usize> = (0..self.buffer.len()).filter(|index| !picked.contains(index)).collect();
        picked.extend(others.into_iter().take(max - picked.len()));
        let mut taken: Vec<Delivery> = picked.into_iter().rev().filter_map(|index| self.buffer.remove(index)).collect();
        taken.reverse();
        taken
    }

    fn put_back(&mut self, delivery: Delivery) {
        let before = self.buffer.iter().position(|other| urgency(other) <= urgency(&delivery));
        self.buffer.insert(before.unwrap_or(self.buffer.len()), delivery);
        self.bell.notify_one();
    }
}

impl Limited {
    fn over(store: &MemoryBroker, flaw: Flaw) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), flaw, state: Arc::default() })
    }

    fn new(flaw: Flaw) -> Arc<Self> {
        Self::over(&MemoryBroker::new(), flaw)
    }

    fn pair(flaw: Flaw) -> (Arc<Self>, Arc<Self>) {
        let store = MemoryBroker::new();
        (Self::over(&store, flaw), Self::over(&store, flaw))
    }

    /// The connection breaks; what was held is counted as lost.
    fn disturb(&self) {
        at_once(self.disconnect(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn open(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed { Err(Error::new(ErrorKind::Closed, operation, "closed")) } else { Ok(state) }
    }

    /// The buffer of a queue; the first look at it begins the pushing.
    fn local<'a>(&self, state: &'a mut State, queue: &QueueName) -> &'a mut Local {
        let local = state.queues.entry(queue.clone()).or_insert_with(|| {
            let idle = if self.flaw == Flaw::Hoards { Duration::MAX } else { IDLE };
            tokio::spawn(push(self.store.clone(), Arc::downgrade(&self.state), queue.clone(), idle));
            Local { buffer: VecDeque::new(), bell: Arc::default(), used: Instant::now() }
        });
        local.used = Instant::now();
        local
    }

    /// Everything that this connection holds goes back to the store; `losses` more are counted.
    async fn disconnect(&self, losses: u32) {
        let (held, buffers) = {
            let mut state = self.lock();
            let held: Vec<Delivery> = state.held.drain().map(|(_, delivery)| delivery).collect();
            let mut queues = std::mem::take(&mut state.queues);
            (held, queues.drain().flat_map(|(_, local)| local.buffer).collect::<Vec<_>>())
        };
        let held = held.iter().map(|delivery| given_back(delivery, losses));
        let back: Vec<Settlement> = held.chain(buffers.iter().map(|delivery| given_back(delivery, 0))).collect();
        if self.flaw != Flaw::ForgetsWithItsConnection {
            self.store.settle(&back).await.unwrap();
        }
    }
}

/// Pushes what waits in the store into the buffer, as long as there is an instance that wants it.
async fn push(store: MemoryBroker, state: Weak<Mutex<State>>, queue: QueueName, idle: Duration) {
    loop {
        store.ready(&queue, Duration::from_millis(50)).await.unwrap();
        let left = match room(&state, &queue, idle) {
            Some(Ok(max)) => {
                let request = FetchRequest::new(queue.clone(), max, Duration::from_secs(86_400));
                deliver(&state, &queue, store.fetch(&request).await.unwrap())
            }
            Some(Err(left)) => left,
            None => return,
        };
        if !left.is_empty() {
            return give_back(&store, left).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How much may be pushed now, or what is in the buffer if nobody has looked at it for long.
fn room(state: &Weak<Mutex<State>>, queue: &QueueName, idle: Duration) -> Option<Result<usize, VecDeque<Delivery>>> {
    let state = state.upgrade()?;
    let mut state = state.lock().unwrap();
    let local = state.queues.get(queue)?;
    let waits = Arc::strong_count(&local.bell) > 1;
    if local.used.elapsed() > idle && !waits {
        return state.queues.remove(queue).map(|local| Err(local.buffer));
    }
    let room = WINDOW - local.buffer.len().min(WINDOW);
    Some(if room == 0 { Err(VecDeque::new()) } else { Ok(room) })
}

/// Puts deliveries into the buffer; answers them if it is gone.
fn deliver(state: &Weak<Mutex<State>>, queue: &QueueName, fetched: Vec<Delivery>) -> VecDeque<Delivery> {
    if let Some(state) = state.upgrade()
        && let Some(local) = state.lock().unwrap().queues.get_mut(queue)
    {
        fetched.into_iter().for_each(|delivery| local.push(delivery));
        return VecDeque::new();
    }
    fetched.into()
}

async fn give_back(store: &MemoryBroker, buffer: VecDeque<Delivery>) {
    let back: Vec<Settlement> = buffer.iter().map(|delivery| given_back(delivery, 0)).collect();
    store.settle(&back).await.unwrap();
}

fn unsupported<T>(operation: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, operation, "a limited broker cannot do this"))
}

#[async_trait]
impl Broker for Limited {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("limited");
        capabilities.delay_step = STEP;
        capabilities.max_payload = 100_000;
        capabilities.lease = false;
        capabilities.fencing = false;
        capabilities.cancel = false;
        capabilities.locate = false;
        capabilities.idempotent = false;
        capabilities.limit = false;
        capabilities.drop_oldest = false;
        capabilities
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        drop(self.open("publish")?);
        let mut outcomes = Vec::new();
        for message in messages {
            let schedule = match message.schedule {
                Schedule::After(delay) => Schedule::After(rounded(delay)),
                Schedule::At(at) => Schedule::After(rounded(at.since(TokioClock.now()))),
                Schedule::Now => Schedule::Now,
            };
            if let Err(error) = message.check(self.capabilities().max_payload) {
                outcomes.push(PublishOutcome::Rejected(error.with_task(message.id.clone())));
                continue;
            }
            outcomes.extend(self.store.publish(&[Message { schedule, limit: None, ..message.clone() }]).await?);
        }
        Ok(outcomes)
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        loop {
            let bell = {
                let mut state = self.open("ready")?;
                let local = self.local(&mut state, queue);
                if !local.buffer.is_empty() {
                    return Ok(());
                }
                Arc::clone(&local.bell)
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            // A buffer that was given back has another bell.
            let _ = tokio::time::timeout(left.min(Duration::from_millis(500)), bell.notified()).await;
        }
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        let mut state = self.open("fetch")?;
        let local = self.local(&mut state, &request.queue);
        let mut taken = local.take(request.max, request.reserve);
        for delivery in &mut taken {
            let token = Token(TOKEN.fetch_add(1, Ordering::SeqCst));
            state.held.insert(token, delivery.clone());
            delivery.receipt.token = token;
        }
        Ok(taken)
    }

    async fn extend(&self, receipts: &[Receipt], _lease: Duration) -> Result<Vec<LeaseStatus>> {
        let state = self.open("extend")?;
        let knows = self.flaw != Flaw::ForgetsWhatIsHeld;
        let held = |receipt: &Receipt| knows && state.held.contains_key(&receipt.token);
        Ok(receipts.iter().map(|one| if held(one) { LeaseStatus::Held } else { LeaseStatus::Lost }).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        drop(self.open("settle")?);
        let mut outcomes = vec![SettleOutcome::Lost; settlements.len()];
        let mut released = Vec::new();
        for (settlement, outcome) in settlements.iter().zip(&mut outcomes) {
            let Some(mut delivery) = self.lock().held.remove(&settlement.receipt.token) else { continue };
            *outcome = SettleOutcome::Settled;
            let mut settlement = Settlement { receipt: delivery.receipt.clone(), ..settlement.clone() };
            match &mut settlement.disposition {
                Disposition::Release => {
                    delivery.progress = settlement.progress;
                    released.push(delivery);
                    continue;
                }
                Disposition::Requeue { after } => *after = rounded(*after),
                Disposition::Acknowledge | Disposition::DeadLetter => {}
            }
            self.store.settle(&[settlement]).await?;
        }
        let mut state = self.lock();
        for delivery in released.into_iter().rev() {
            let queue = delivery.receipt.queue.clone();
            self.local(&mut state, &queue).put_back(delivery);
        }
        Ok(outcomes)
    }

    async fn cancel(&self, _queue: &QueueName, _id: &TaskId) -> Result<CancelOutcome> {
        unsupported("cancel")
    }

    async fn locate(&self, _queue: &QueueName, _id: &TaskId) -> Result<Option<Location>> {
        unsupported("locate")
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        drop(self.open("dead_letters")?);
        self.store.dead_letters(queue, cursor, max).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        drop(self.open("replay")?);
        let limit = self.capabilities().max_payload;
        letters.iter().filter_map(|letter| letter.edited.as_ref()).try_for_each(|edited| edited.check(limit))?;
        self.store.replay(queue, letters).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        drop(self.open("discard")?);
        self.store.discard(queue, ids).await
    }

    fn risks(&self) -> Vec<String> {
        self.store.risks()
    }

    async fn close(&self) {
        let bells: Vec<Arc<Notify>> = {
            let mut state = self.lock();
            state.closed = true;
            state.queues.values().map(|local| Arc::clone(&local.bell)).collect()
        };
        bells.iter().for_each(|bell| bell.notify_waiters());
        self.disconnect(0).await;
    }
}

windlass_testing::broker_guarantees!([checks] { broker Limited Flaw });

/// The whole suite, in virtual time.
macro_rules! keeps {
    ({} $($group:ident: $stage:ident { $($guarantee:ident [$($need:ident)*] $sentence:literal;)* })*) => {
        mod conformance {
            $($(
                #[tokio::test(start_paused = true)]
                async fn $guarantee() {
                    let name = stringify!($guarantee);
                    let broker = super::Limited::new(super::Flaw::Sound);
                    let trial = windlass_testing::conformance::broker::trial(name, &[], &*broker);
                    trial.show(super::check(name, super::Flaw::Sound)).await;
                }
            )*)*
        }
    };
}

windlass_testing::broker_guarantees!([keeps] {});

must_fail! {
    of_a_limited_broker, Flaw:

    forgetting_with_a_connection_is_seen: ForgetsWithItsConnection =>
        a_closed_instance_gives_its_claims_back an_unleased_claim_ends_with_its_connection;
    forgotten_claims_are_seen: ForgetsWhatIsHeld => a_claim_without_a_lease_is_held_until_it_is_settled;
    hoarding_is_seen: Hoards => what_one_has_not_fetched_the_others_get;
}
