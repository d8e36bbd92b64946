//! One queue of a worker: takes messages while there is room, and runs each on a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use windlass_core::{Delivery, Error, FetchRequest, QueueName};

use super::completion::Completion;
use super::engine::Engine;
use super::signal::TaskSignal;
use crate::pause::Pause;

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

#[derive(Debug)]
pub(super) struct Lane {
    engine: Arc<Engine>,
    queue: QueueName,
    concurrency: usize,
    running: Arc<Semaphore>,
    room: Arc<Room>,
    /// Moving mean of the run time in nanoseconds.
    mean: AtomicU64,
    completions: mpsc::Sender<Completion>,
}

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
        let mut pause = Pause::default();
        while let Some(max) = self.room().await {
            let claimed = Instant::now();
            let request = FetchRequest { queue: self.queue.clone(), max, lease: self.engine.leases.lease() };
            let waited = match self.engine.broker.fetch(&request).await {
                Ok(deliveries) if deliveries.is_empty() => self.ready().await,
                Ok(deliveries) => {
                    self.take(deliveries, claimed);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            match waited {
                Ok(()) => pause.reset(),
                Err(error) => self.pause(&mut pause, &error).await,
            }
        }
    }

    async fn ready(&self) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.engine.stop.cancelled() => Ok(()),
            ready = self.engine.broker.ready(&self.queue, READY) => ready,
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

    fn take(self: &Arc<Self>, deliveries: Vec<Delivery>, claimed: Instant) {
        self.room.taken.fetch_add(deliveries.len(), Ordering::AcqRel);
        let signals = self.engine.leases.insert(&deliveries, claimed);
        for (delivery, signal) in deliveries.into_iter().zip(signals) {
            self.engine.executions.spawn(Arc::clone(self).execute(delivery, signal));
        }
    }

    async fn execute(self: Arc<Self>, delivery: Delivery, signal: Arc<TaskSignal>) {
        let permit = tokio::select! {
            biased;
            () = self.engine.stop.cancelled() => None,
            permit = Arc::clone(&self.running).acquire_owned() => permit.ok(),
        };
        let turn = permit.is_some();
        let slot = Arc::new(Slot { room: Arc::clone(&self.room), permit });
        let completion = if turn {
            let started = Instant::now();
            let completion = self.engine.process(delivery, signal, &slot).await;
            self.measure(started.elapsed());
            completion
        } else {
            self.engine.give_back(&delivery)
        };
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
