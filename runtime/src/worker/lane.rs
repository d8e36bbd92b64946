//! One queue of a worker: takes messages while there is room, and runs them in its places.

mod order;
mod pauses;
mod share;
mod stock;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use windlass_core::policy::{PriorityOrder, reserve};
use windlass_core::{Delivery, Error, ErrorKind, FetchRequest, QueueName, Result};

pub use self::order::QueueOrder;
pub(super) use self::pauses::watch_pauses;
pub(super) use self::share::{Member, share};
pub(super) use self::stock::Slot;
use self::stock::{Stock, Stocked};
use super::completion::Completion;
use super::engine::Engine;
use super::settle;
use crate::pause::{Pause, in_time};

/// Most messages in one fetch.
const FETCH: usize = 200;
/// The longest wait for a wake-up before the queue is looked at anyway.
const READY: Duration = Duration::from_secs(2);
/// How much work is fetched ahead: what the lane does in this time, by the mean of its run times.
/// It hides the round trips of short tasks; of long ones nothing is fetched ahead, because it would
/// wait here while another worker is idle.
const AHEAD: Duration = Duration::from_millis(10);
/// Most messages that are fetched ahead.
const MOST_AHEAD: usize = 1000;

/// The longest that a fetched message waits for its turn before it is given back, so that another
/// worker can have it: longer than `AHEAD`, because means are only means.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a worker that stops waits for a fetch that is under way.
const LAST_FETCH: Duration = Duration::from_millis(500);
/// How long a place works before others of the same thread have their turn.
const TURN: Duration = Duration::from_micros(100);

/// What one lane serves, and how.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) queue: QueueName,
    pub(super) concurrency: usize,
    pub(super) priorities: PriorityOrder,
    /// Its part in places that all queues share.
    pub(super) member: Option<Member>,
    /// Whether somebody looks if it is paused; it begins when that is known.
    pub(super) watched: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    engine: Arc<Engine>,
    queue: QueueName,
    concurrency: usize,
    priorities: PriorityOrder,
    stock: Arc<Stock>,
    /// `None` until somebody has looked.
    paused: watch::Sender<Option<bool>>,
    /// Messages that were taken by now; tells which places are kept for the less urgent.
    taken: AtomicU64,
    /// Moving mean of the run time in nanoseconds; `u64::MAX` while nothing is known.
    mean: AtomicU64,
    completions: mpsc::Sender<Completion>,
}

impl Lane {
    pub(super) fn new(engine: Arc<Engine>, service: Service, completions: mpsc::Sender<Completion>) -> Arc<Self> {
        let Service { queue, concurrency, priorities, member, watched } = service;
        // What a broker does not order, nobody needs to be protected from.
        let ordered = engine.broker.capabilities().priority;
        Arc::new(Self {
            engine,
            queue,
            concurrency,
            priorities: if ordered { priorities } else { PriorityOrder::Strict },
            stock: Stock::new(concurrency, member),
            paused: watch::Sender::new((!watched).then_some(false)),
            taken: AtomicU64::new(0),
            mean: AtomicU64::new(u64::MAX),
            completions,
        })
    }

    /// Fetches until the worker stops. Nothing that the broker does ends it.
    pub(super) async fn run(self: Arc<Self>) {
        self.engine.executions.spawn(Arc::clone(&self).keep());
        let mut pause = Pause::default();
        while let Some(max) = self.room().await {
            let fetched = self.fetch(max).await;
            if let (Some(member), Some(fetched)) = (&self.stock.member, &fetched) {
                Self::leave(member, max, fetched.as_ref().ok().copied());
            }
            let waited = match fetched {
                Some(Ok(0)) => self.ready().await,
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(error),
                None => return,
            };
            match waited {
                Ok(()) => pause.reset(),
                Err(error) => self.pause(&mut pause, &error).await,
            }
        }
    }

    /// Leaves the shared places that a fetch did not fill. A queue that has filled all goes on asking.
    fn leave(member: &Member, max: usize, fetched: Option<usize>) {
        let fetched = fetched.unwrap_or(0).min(max);
        if fetched < max {
            member.rest();
            member.give_back(max - fetched);
        }
    }

    /// One fetch; how many there were. It runs on a task of its own, because its future must not be
    /// dropped: what it has claimed would wait for its lease. `None` if the worker stops before it
    /// is answered; it goes on then, and gives back what comes.
    async fn fetch(self: &Arc<Self>, max: usize) -> Option<Result<usize>> {
        let lane = Arc::clone(self);
        let mut fetch = tokio::spawn(async move {
            let claimed = Instant::now();
            let kept = reserve(lane.priorities, max, lane.taken.load(Ordering::Relaxed));
            let lease = lane.engine.leases.lease();
            let request = FetchRequest { reserve: kept, ..FetchRequest::new(lane.queue.clone(), max, lease) };
            let deliveries = in_time("fetch", lane.engine.broker.fetch(&request)).await?;
            lane.taken.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
            Ok(lane.take(deliveries, claimed).await)
        });
        let fetched = tokio::select! {
            fetched = &mut fetch => fetched,
            () = self.engine.stop.cancelled() => timeout(LAST_FETCH, fetch).await.ok()?,
        };
        Some(fetched.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "fetch", "the broker panicked"))))
    }

    async fn ready(&self) -> Result<()> {
        tokio::select! {
            biased;
            () = self.engine.stop.cancelled() => Ok(()),
            ready = in_time("ready", self.engine.broker.ready(&self.queue, READY)) => ready,
        }
    }

    async fn pause(&self, pause: &mut Pause, error: &Error) {
        if pause.is_news() {
            tracing::warn!(target: "windlass::worker", queue = %self.queue, %error, "cannot fetch; trying again");
        }
        tokio::select! {
            () = self.engine.stop.cancelled() => {}
            () = sleep(pause.next()) => {}
        }
    }

    /// Waits until more can be taken, and how much; `None` when the worker stops.
    async fn room(&self) -> Option<usize> {
        loop {
            if self.engine.stop.is_cancelled() {
                return None;
            }
            let paused = *self.paused.borrow();
            if paused != Some(false) {
                if let (Some(member), Some(true)) = (&self.stock.member, paused) {
                    member.rest();
                }
                self.resumed(paused).await;
                continue;
            }
            if let Some(member) = &self.stock.member {
                match member.take(FETCH) {
                    0 => self.given(member).await,
                    places => return Some(places),
                }
                continue;
            }
            let ahead = self.ahead();
            // While there is work in stock, small fetches are not worth their round trip.
            let least = (ahead / 4).clamp(1, FETCH);
            let free = self.stock.free(self.concurrency + ahead, least);
            if free >= least {
                return Some(free.min(FETCH));
            }
            tokio::select! {
                () = self.engine.stop.cancelled() => return None,
                () = self.stock.room.notified() => {}
            }
        }
    }

    /// Waits for shared places, the beginning of a pause or the end of the worker.
    async fn given(&self, member: &Member) {
        let mut paused = self.paused.subscribe();
        tokio::select! {
            () = self.engine.stop.cancelled() => {}
            _ = paused.wait_for(|paused| *paused == Some(true)) => {}
            () = member.given() => {}
        }
    }

    /// Waits until it is no longer so, or for the end of the worker.
    async fn resumed(&self, paused: Option<bool>) {
        let mut changed = self.paused.subscribe();
        tokio::select! {
            () = self.engine.stop.cancelled() => {}
            _ = changed.wait_for(|now| *now != paused) => {}
        }
    }

    fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Stops fetching, or begins to fetch again. What was fetched ahead is given back; what runs goes on.
    fn pause_or_resume(self: &Arc<Self>, pause: bool) {
        if *self.paused.borrow() == Some(pause) {
            return;
        }
        if !pause {
            self.stock.resume();
            self.paused.send_replace(Some(false));
            return;
        }
        self.paused.send_replace(Some(true));
        let waiting = self.stock.pause();
        let lane = Arc::clone(self);
        self.engine.executions.spawn(async move { lane.give_back(waiting).await });
    }

    /// How many messages are worth having in stock.
    fn ahead(&self) -> usize {
        let mean = u128::from(self.mean.load(Ordering::Relaxed).max(1));
        let runs = AHEAD.as_nanos() / mean;
        usize::try_from(runs).map_or(MOST_AHEAD, |runs| runs.saturating_mul(self.concurrency).min(MOST_AHEAD))
    }

    /// Puts what was fetched into the stock and begins with it; what comes too late is given back.
    async fn take(self: &Arc<Self>, deliveries: Vec<Delivery>, claimed: Instant) -> usize {
        let fetched = deliveries.len();
        let taken = self.engine.leases.insert(deliveries, claimed);
        if let Some(member) = &self.stock.member {
            // What was delivered twice needs no place.
            member.give_back(fetched - taken.len());
        }
        let late = self.stock.add(taken, Instant::now());
        self.give_back(late).await;
        self.begin();
        if self.stock.waits_since().is_some() {
            self.stock.left.notify_one();
        }
        fetched
    }

    /// Gives what waits to the places that are idle, in the order of the queue. From then on each
    /// place serves itself.
    fn begin(self: &Arc<Self>) {
        while !self.engine.stop.is_cancelled()
            && let Some(first) = self.stock.begin(Instant::now())
        {
            self.engine.executions.spawn(Arc::clone(self).occupy(first));
        }
    }

    /// Runs one task after the other in one place, as long as something waits.
    async fn occupy(self: Arc<Self>, first: Stocked) {
        let slot = Slot::new(&self.stock);
        let mut next = Some(first);
        let mut began = Instant::now();
        let mut turn = began;
        while let Some((delivery, signal)) = next {
            let completion = self.engine.process(delivery, signal, &slot).await;
            self.measure(began.elapsed());
            // The place is free after the completion is taken over: a slow store slows fetching.
            let _ = self.completions.send(completion).await;
            began = Instant::now();
            if began - turn >= TURN {
                yield_now().await;
                began = Instant::now();
                turn = began;
            }
            // A blocking task that was given up may still be in this place.
            if Arc::strong_count(&slot) > 1 || self.engine.stop.is_cancelled() {
                return;
            }
            next = self.stock.next(began);
        }
    }

    /// Sees to what no place takes: gives it to a place that is free again, or back to the queue if it
    /// waits for too long or the worker stops.
    async fn keep(self: Arc<Self>) {
        loop {
            let patience = self.stock.waits_since().map(|since| since + PATIENCE);
            tokio::select! {
                biased;
                () = self.engine.stop.cancelled() => return self.give_back(self.stock.close()).await,
                () = self.stock.left.notified() => {}
                () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {}
            }
            self.begin();
            let overdue = self.stock.overdue(Instant::now(), PATIENCE);
            if !overdue.is_empty() {
                // Tasks have become long: fetch nothing ahead until there is a new mean.
                self.mean.store(u64::MAX, Ordering::Relaxed);
                self.give_back(overdue).await;
            }
        }
    }

    /// Gives back what has not begun, at the head of the queue and in its order; what was cancelled meanwhile
    /// ends here, because nobody else has heard of that.
    async fn give_back(&self, unbegun: Vec<Stocked>) {
        if unbegun.is_empty() {
            return;
        }
        let count = unbegun.len();
        let mut deliveries = Vec::with_capacity(count);
        for (delivery, signal) in unbegun {
            match self.engine.cancelled(&delivery, &signal) {
                Some(completion) => drop(self.completions.send(completion).await),
                None => deliveries.push(delivery),
            }
        }
        settle::give_back(&self.engine, &deliveries).await;
        self.stock.gave_back(count);
    }

    fn measure(&self, elapsed: Duration) {
        let sample = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let mean = match self.mean.load(Ordering::Relaxed) {
            u64::MAX => sample,
            mean => mean - mean / 8 + sample / 8,
        };
        self.mean.store(mean, Ordering::Relaxed);
    }
}
