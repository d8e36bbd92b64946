//! Keeps the claims of everything that this worker has taken.
//!
//! One call extends all of them. It is made from a thread of its own, so that a task that blocks
//! every thread of the application's runtime does not lose its lease and run twice.

use std::collections::{HashMap, hash_map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windlass_core::{Broker, Delivery, Error, Interrupt, LeaseStatus, Receipt, Result, TaskId, Timestamp, Token};

use super::signal::{Kill, TaskSignal};
use crate::pause::within;

/// Most claims in one call.
const CLAIMS_PER_CALL: usize = 500;

type Key = (TaskId, Token);

/// What this worker has claimed and not yet settled.
#[derive(Debug)]
pub(super) struct Leases {
    entries: Mutex<HashMap<Key, Entry>>,
    lease: Duration,
    /// Told when there is something after there was nothing.
    filled: Notify,
}

#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    claimed: Instant,
    renewed: Instant,
    /// When the task was enqueued; `None` if the message cannot be read.
    enqueued: Option<Timestamp>,
    lost: bool,
    signal: Arc<TaskSignal>,
}

/// Whether a claim is still ours, as far as this worker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Held,
    /// Its time is over by our own clock; only the broker knows.
    Doubtful,
    Lost,
}

fn key(receipt: &Receipt) -> Key {
    (receipt.id.clone(), receipt.token)
}

impl Leases {
    pub(super) fn new(lease: Duration) -> Self {
        Self { entries: Mutex::default(), lease, filled: Notify::new() }
    }

    pub(super) fn lease(&self) -> Duration {
        self.lease
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the claims of a fetch that was sent at `claimed`; a signal for each. A claim that
    /// is here already was delivered twice, and is dropped.
    pub(super) fn insert(&self, deliveries: Vec<Delivery>, claimed: Instant) -> Vec<(Delivery, Arc<TaskSignal>)> {
        let mut entries = self.entries();
        if entries.is_empty() && !deliveries.is_empty() {
            self.filled.notify_one();
        }
        let insert = |delivery: Delivery| {
            let hash_map::Entry::Vacant(place) = entries.entry(key(&delivery.receipt)) else { return None };
            let signal = Arc::<TaskSignal>::default();
            let receipt = delivery.receipt.clone();
            let enqueued = delivery.content.as_ref().ok().map(|message| message.enqueued_at);
            let signal_of_entry = Arc::clone(&signal);
            place.insert(Entry { receipt, claimed, renewed: claimed, enqueued, lost: false, signal: signal_of_entry });
            Some((delivery, signal))
        };
        deliveries.into_iter().filter_map(insert).collect()
    }

    /// Forgets claims that are settled.
    pub(super) fn remove<'a>(&self, receipts: impl IntoIterator<Item = &'a Receipt>) {
        let mut entries = self.entries();
        for receipt in receipts {
            entries.remove(&key(receipt));
        }
    }

    /// Whether a claim is not settled yet.
    pub(super) fn has(&self, id: &TaskId, token: Token) -> bool {
        self.entries().contains_key(&(id.clone(), token))
    }

    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    /// What is known of these claims.
    pub(super) fn check<'a>(&self, receipts: impl IntoIterator<Item = &'a Receipt>) -> Vec<Claim> {
        let entries = self.entries();
        let now = Instant::now();
        let claim = |receipt: &Receipt| match entries.get(&key(receipt)) {
            Some(entry) if entry.lost => Claim::Lost,
            Some(entry) if now.duration_since(entry.renewed) >= self.lease => Claim::Doubtful,
            Some(_) => Claim::Held,
            None => Claim::Lost,
        };
        receipts.into_iter().map(claim).collect()
    }

    /// Waits until there is something.
    pub(super) async fn some(&self) {
        while self.entries().is_empty() {
            self.filled.notified().await;
        }
    }

    /// The tasks that were claimed at least so long ago.
    pub(super) fn older_than(&self, span: Duration) -> Vec<TaskId> {
        let now = Instant::now();
        let old = |entry: &&Entry| !entry.lost && now.duration_since(entry.claimed) >= span;
        self.entries().values().filter(old).map(|entry| entry.receipt.id.clone()).collect()
    }

    /// The signals of the claims of a task that was enqueued at a fitting time.
    pub(super) fn signals(&self, id: &TaskId, fits: impl Fn(Timestamp) -> bool) -> Vec<Arc<TaskSignal>> {
        let entries = self.entries();
        let is_meant = |entry: &&Entry| entry.receipt.id == *id && entry.enqueued.is_none_or(&fits);
        entries.values().filter(is_meant).map(|entry| Arc::clone(&entry.signal)).collect()
    }

    pub(super) fn each_signal(&self, act: impl Fn(&TaskSignal)) {
        for entry in self.entries().values() {
            act(&entry.signal);
        }
    }

    /// Claims that have used up a third of their lease.
    fn due(&self) -> Vec<Receipt> {
        let now = Instant::now();
        let is_due = |entry: &&Entry| !entry.lost && now.duration_since(entry.renewed) >= self.lease / 3;
        let mut due: Vec<Receipt> = self.entries().values().filter(is_due).map(|entry| entry.receipt.clone()).collect();
        // What was claimed together is extended together, so a broker can treat it as one.
        due.sort_unstable_by_key(|receipt| receipt.token);
        due
    }

    fn learn(&self, receipts: &[Receipt], statuses: &[LeaseStatus], asked: Instant) {
        let mut entries = self.entries();
        for (receipt, status) in receipts.iter().zip(statuses) {
            let Some(entry) = entries.get_mut(&key(receipt)) else { continue };
            if *status == LeaseStatus::Held {
                entry.renewed = asked;
                continue;
            }
            entry.lost = true;
            entry.signal.tell(Interrupt::LeaseLost);
            entry.signal.kill(Kill::LeaseLost);
        }
    }

    /// Asks the broker to extend these claims and keeps what it answers.
    pub(super) async fn extend(&self, broker: &dyn Broker, receipts: &[Receipt]) -> Result<()> {
        for receipts in receipts.chunks(CLAIMS_PER_CALL) {
            let asked = Instant::now();
            let statuses = within(self.lease / 3, "extend", broker.extend(receipts, self.lease)).await?;
            self.learn(receipts, &statuses, asked);
        }
        Ok(())
    }
}

/// Extends what is due, six times a lease, until `done`.
pub(super) async fn keep(broker: Arc<dyn Broker>, leases: Arc<Leases>, done: CancellationToken) {
    let mut failures: u32 = 0;
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = sleep(leases.lease() / 6) => {}
        }
        let due = leases.due();
        match leases.extend(&*broker, &due).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                report(&error, due.len(), failures);
            }
        }
    }
}

fn report(error: &Error, claims: usize, failures: u32) {
    tracing::warn!(target: "windlass::worker", claims, failures, %error, "leases not extended; trying again");
}

/// Runs [`keep`] on a thread of its own.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub(super) fn keep_on_thread(
    broker: Arc<dyn Broker>,
    leases: Arc<Leases>,
    done: CancellationToken,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || runtime.block_on(keep(broker, leases, done));
    std::thread::Builder::new().name("windlass-lease".to_owned()).spawn(run).map(drop)
}
