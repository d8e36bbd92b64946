//! One queue of a worker: takes messages while there is room, and runs each on a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use windlass_core::{Delivery, Error, ErrorKind, FetchRequest, QueueName, Result};

use super::completion::Completion;
use super::engine::Engine;
use super::settle;
use super::signal::TaskSignal;
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

#[derive(Debug)]
pub(super) struct Lane {
    engine: Arc<Engine>,
    queue: QueueName,
    concurrency: usize,
    running: Arc<Semaphore>,
    room: Arc<Room>,
    /// Moving mean of the run time in nanoseconds; `u64::MAX` while nothing is known.
    mean: AtomicU64,
    completions: mpsc::Sender<Completion>,
}

/// A claimed message that waits for its turn.
type Stocked = (Delivery, Arc<TaskSignal>);

/// How much a lane has claimed and not yet ended, running or waiting for its turn.
#[derive(Debug, Default)]
struct Room {
    taken: AtomicUsize,
    freed: Notify,
}

/// A place among what a lane may take; given back when the last clone of its Arc is dropped, which
/// for a blocking task that was given up is when its thread returns.
#[derive(Debug)]
pub(super) struct Slot {
    room: Arc<Room>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.room.taken.fetch_sub(1, Ordering::AcqRel);
        self.room.freed.notify_one();
    }
}

impl Lane {
    pub(super) fn new(
        engine: Arc<Engine>,
        queue: QueueName,
        concurrency: usize,
        completions: mpsc::Sender<Completion>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            queue,
            concurrency,
            running: Arc::new(Semaphore::new(concurrency)),
            room: Arc::default(),
            mean: AtomicU64::new(u64::MAX),
            completions,
        })
    }

    /// Fetches until the worker stops. Nothing that the broker does ends it.
    pub(super) async fn run(self: Arc<Self>) {
        let (stock, taken) = mpsc::unbounded_channel();
        self.engine.executions.spawn(Arc::clone(&self).dispatch(taken));
        let mut pause = Pause::default();
        while let Some(max) = self.room().await {
            let waited = match self.fetch(max, &stock).await {
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

    /// One fetch; how many there were. It runs on a task of its own, because its future must not be
    /// dropped: what it has claimed would wait for its lease. `None` if the worker stops before it
    /// is answered; it goes on then, and gives back what comes.
    async fn fetch(self: &Arc<Self>, max: usize, stock: &mpsc::UnboundedSender<Stocked>) -> Option<Result<usize>> {
        let (lane, stock) = (Arc::clone(self), stock.clone());
        let mut fetch = tokio::spawn(async move {
            let claimed = Instant::now();
            let request = FetchRequest { queue: lane.queue.clone(), max, lease: lane.engine.leases.lease() };
            let deliveries = in_time("fetch", lane.engine.broker.fetch(&request)).await?;
            Ok(lane.take(deliveries, claimed, &stock).await)
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
            let ahead = self.ahead();
            let free = (self.concurrency + ahead).saturating_sub(self.room.taken.load(Ordering::Acquire));
            // While there is work in stock, small fetches are not worth their round trip.
            if free >= (ahead / 4).clamp(1, FETCH) {
                return Some(free.min(FETCH));
            }
            tokio::select! {
                () = self.engine.stop.cancelled() => return None,
                () = self.room.freed.notified() => {}
            }
        }
    }

    /// How many messages are worth having in stock.
    fn ahead(&self) -> usize {
        let mean = u128::from(self.mean.load(Ordering::Relaxed).max(1));
        let runs = AHEAD.as_nanos() / mean;
        usize::try_from(runs).map_or(MOST_AHEAD, |runs| runs.saturating_mul(self.concurrency).min(MOST_AHEAD))
    }

    /// Puts what was fetched into the stock; what comes too late is given back.
    async fn take(
        self: &Arc<Self>,
        deliveries: Vec<Delivery>,
        claimed: Instant,
        stock: &mpsc::UnboundedSender<Stocked>,
    ) -> usize {
        let fetched = deliveries.len();
        let taken = self.engine.leases.insert(deliveries, claimed);
        self.room.taken.fetch_add(taken.len(), Ordering::AcqRel);
        let late: Vec<Stocked> =
            taken.into_iter().filter_map(|taken| stock.send(taken).err().map(|late| late.0)).collect();
        self.give_back(late).await;
        fetched
    }

    /// Runs what is in stock, one after the other as places become free, in the order of the queue.
    async fn dispatch(self: Arc<Self>, mut stock: mpsc::UnboundedReceiver<Stocked>) {
        while let Some((delivery, signal)) = self.next(&mut stock).await {
            let permit = tokio::select! {
                biased;
                () = self.engine.stop.cancelled() => None,
                permit = Arc::clone(&self.running).acquire_owned() => permit.ok(),
                () = sleep(PATIENCE) => None,
            };
            let Some(permit) = permit else {
                // Tasks have become long: fetch nothing ahead until there is a new mean.
                self.mean.store(u64::MAX, Ordering::Relaxed);
                let mut unbegun = vec![(delivery, signal)];
                while let Ok(stocked) = stock.try_recv() {
                    unbegun.push(stocked);
                }
                self.give_back(unbegun).await;
                continue;
            };
            let slot = Arc::new(Slot { room: Arc::clone(&self.room), permit: Some(permit) });
            self.engine.executions.spawn(Arc::clone(&self).execute(delivery, signal, slot));
        }
    }

    /// The next one; of a worker that stops what is left, and then nothing, whoever may still send.
    async fn next(&self, stock: &mut mpsc::UnboundedReceiver<Stocked>) -> Option<Stocked> {
        tokio::select! {
            biased;
            () = self.engine.stop.cancelled() => {
                stock.close();
                stock.recv().await
            }
            stocked = stock.recv() => stocked,
        }
    }

    /// Gives back what has not begun, at the head of the queue and in its order.
    async fn give_back(&self, unbegun: Vec<Stocked>) {
        let deliveries: Vec<Delivery> = unbegun.into_iter().map(|(delivery, _)| delivery).collect();
        settle::give_back(&self.engine, &deliveries).await;
        self.room.taken.fetch_sub(deliveries.len(), Ordering::AcqRel);
        self.room.freed.notify_one();
    }

    async fn execute(self: Arc<Self>, delivery: Delivery, signal: Arc<TaskSignal>, slot: Arc<Slot>) {
        let started = Instant::now();
        let completion = self.engine.process(delivery, signal, &slot).await;
        self.measure(started.elapsed());
        // The place is given back after the completion is taken over: a slow store slows fetching.
        let _ = self.completions.send(completion).await;
        drop(slot);
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
