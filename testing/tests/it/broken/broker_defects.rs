//! A broker with one defect.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use windlass_core::broker::Overflow;
use windlass_core::{
    Broker, CancelOutcome, Capabilities, DeadPage, Delivery, Disposition, Error, ErrorKind, FetchRequest, LeaseStatus,
    Location, Message, Priority, Progress, PublishOutcome, QueueLimit, QueueName, Receipt, Replay, Reserve, Result,
    Schedule, SettleOutcome, Settlement, State, TaskId, Timestamp, Token,
};
use windlass_testing::{MemoryBroker, fixture};

use super::broker::Defect::{self, *};
use super::{at_once, cut, lossy, tame};

#[derive(Debug)]
pub(super) struct Broken {
    store: MemoryBroker,
    defect: Defect,
    /// What all instances know.
    shared: Arc<Mutex<Shared>>,
    buried: Mutex<HashSet<TaskId>>,
    closed: AtomicBool,
    disturbed: AtomicBool,
    ended: Notify,
    /// How many wait to be handed a message.
    pops: AtomicUsize,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct Shared {
    latest: HashMap<TaskId, Delivery>,
    priorities: HashMap<TaskId, Option<Priority>>,
}

impl Broken {
    pub(super) fn new(defect: Defect) -> Arc<Self> {
        Arc::new(Self::over(&MemoryBroker::new(), &Arc::default(), defect))
    }

    pub(super) fn pair(defect: Defect) -> (Arc<Self>, Arc<Self>) {
        let (store, shared) = (MemoryBroker::new(), Arc::default());
        let other = if defect == KeepsToItself { MemoryBroker::new() } else { store.clone() };
        (Arc::new(Self::over(&store, &shared, defect)), Arc::new(Self::over(&other, &shared, defect)))
    }

    fn over(store: &MemoryBroker, shared: &Arc<Mutex<Shared>>, defect: Defect) -> Self {
        Self {
            store: store.clone(),
            defect,
            shared: Arc::clone(shared),
            buried: Mutex::default(),
            closed: AtomicBool::new(false),
            disturbed: AtomicBool::new(false),
            ended: Notify::new(),
            pops: AtomicUsize::new(0),
            runtime: Handle::current(),
        }
    }

    /// The connections break; the store is in the same process, so nothing need happen.
    pub(super) fn disturb(&self) {
        self.disturbed.store(true, Ordering::SeqCst);
        if self.has(ForgetsOnReconnect) {
            for (message, _) in self.store.waiting() {
                at_once(self.store.cancel(&message.queue, &message.id)).unwrap();
            }
        }
        if self.has(GivesClaimsBack) {
            let held: Vec<Delivery> = self.shared().latest.values().cloned().collect();
            let back: Vec<Settlement> = held.iter().map(|one| settlement(one, Disposition::Release)).collect();
            at_once(self.store.settle(&back)).unwrap();
        }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn after_disturbance(&self, defect: Defect) -> bool {
        self.has(defect) && self.disturbed.load(Ordering::SeqCst)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    fn open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, operation, "closed"));
        }
        if self.after_disturbance(NeverReconnects) {
            return Err(Error::new(ErrorKind::Unavailable, operation, "no connection"));
        }
        Ok(())
    }

    /// Ends when this one hears nothing any more.
    async fn deafness(&self) {
        while !self.after_disturbance(DeafAfterReconnect) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What waits goes to those who asked for it, also to those who have gone.
    async fn pop(&self, queue: &QueueName) -> Result<()> {
        for _ in 0..self.pops.swap(0, Ordering::SeqCst) {
            let request = FetchRequest::new(queue.clone(), 1, Duration::from_secs(600));
            self.store.fetch(&request).await?;
        }
        Ok(())
    }

    /// An error for what is empty.
    fn nothing(&self, operation: &'static str, count: usize) -> Result<()> {
        let errs = self.has(ErrsOnNothing) && count == 0;
        if errs { Err(Error::new(ErrorKind::Invalid, operation, "nothing to do")) } else { Ok(()) }
    }

    fn queue(&self, queue: &QueueName) -> QueueName {
        if self.has(OneQueueForAll) { "all".parse().unwrap() } else { queue.clone() }
    }

    /// The message as it is stored, or nothing if it gets lost.
    fn stored(&self, index: usize, message: &Message) -> Option<Message> {
        let mut message = Message { queue: self.queue(&message.queue), ..message.clone() };
        match self.defect {
            LosesDelayed if message.schedule != Schedule::Now => return None,
            LosesOneOfABatch if index == 7 => return None,
            ChangesIds => message.id = tame(&message.id),
            CutsPayloads => message.payload = cut(&message.payload),
            DeliversEarly => message.schedule = Schedule::Now,
            ForgetsIds => message.id = fixture::task_id(),
            ForgetsOptions => (message.options, message.remember) = Default::default(),
            IgnoresPriority => {
                self.shared().priorities.insert(message.id.clone(), message.options.priority.take());
            }
            IgnoresQueueLimits => message.limit = None,
            DropsTheNewest => {
                message.limit = message.limit.map(|limit| QueueLimit { overflow: Overflow::Reject, ..limit });
            }
            LosesUnknownFields => message.unknown.clear(),
            NoLimit => message.payload = message.payload.slice(..message.payload.len().min(self.limit())),
            ReadsPayloads => {
                let value: serde_json::Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                message.payload = value.to_string().into();
            }
            ReencodesPayloads => message.payload = lossy(&message.payload),
            RoundsTimes => {
                let seconds = message.enqueued_at.as_micros() / 1_000_000;
                message.enqueued_at = Timestamp::from_micros(seconds * 1_000_000);
            }
            _ => {}
        }
        Some(message)
    }

    fn limit(&self) -> usize {
        self.store.capabilities().max_payload
    }

    /// The receipt with the token of the latest claim.
    fn forged(&self, receipt: &Receipt) -> Receipt {
        let forges = self.has(NoFencing) || self.has(ReusesTokens);
        let latest = self.shared().latest.get(&receipt.id).map(|delivery| delivery.receipt.token);
        Receipt { token: latest.filter(|_| forges).unwrap_or(receipt.token), ..receipt.clone() }
    }

    async fn bend(&self, mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
        for delivery in &mut deliveries {
            self.shared().latest.insert(delivery.receipt.id.clone(), delivery.clone());
            match self.defect {
                AcknowledgesAtFetch => {
                    self.store.settle(&[settlement(delivery, Disposition::Acknowledge)]).await.unwrap();
                }
                CountsNoLosses => delivery.progress.losses = 0,
                CountsLossesAsFailures => delivery.progress.failures += std::mem::take(&mut delivery.progress.losses),
                IgnoresPriority => {
                    let priority = self.shared().priorities.get(&delivery.receipt.id).copied().flatten();
                    delivery.content.iter_mut().for_each(|message| message.options.priority = priority);
                }
                ReusesTokens => delivery.receipt.token = Token(1),
                _ => {}
            }
        }
        if self.has(DropsUndecodable) {
            deliveries.retain(|delivery| delivery.content.is_ok());
        }
        if self.has(LastInFirstOut) {
            deliveries.reverse();
        }
        deliveries
    }

    fn bent(&self, settlement: &Settlement) -> Settlement {
        let mut settlement = Settlement { receipt: self.forged(&settlement.receipt), ..settlement.clone() };
        match (self.defect, &mut settlement.disposition) {
            (CountsReleases, Disposition::Release) => settlement.progress.failures += 1,
            (DropsWhatComesBack, Disposition::Release | Disposition::Requeue { .. })
                if self.store.counts().queued > 2 =>
            {
                settlement.disposition = Disposition::Acknowledge;
            }
            (ForgetsReasons, _) => settlement.reason = None,
            (ForgetsRetryLimits, _) => settlement.progress.max_retries = None,
            (KeepsDeadLettersAtHome, Disposition::DeadLetter) => {
                self.buried.lock().unwrap().insert(settlement.receipt.id.clone());
            }
            (RemembersForEver, _) => settlement.remember = Some(Duration::from_secs(3_600)),
            (RequeuesAtTheHead, Disposition::Requeue { after }) if after.is_zero() => {
                settlement.disposition = Disposition::Release;
            }
            (RetriesAtOnce, Disposition::Requeue { after }) => *after = Duration::ZERO,
            (SmallCounts, _) => {
                let small = |count: u32| count.min(i32::MAX as u32);
                let Progress { failures, losses, snoozes, parks, .. } = settlement.progress;
                settlement.progress = Progress {
                    failures: small(failures),
                    losses: small(losses),
                    snoozes: small(snoozes),
                    parks: small(parks),
                    ..settlement.progress
                };
            }
            _ => {}
        }
        settlement
    }
}

fn settlement(delivery: &Delivery, disposition: Disposition) -> Settlement {
    let (receipt, progress) = (delivery.receipt.clone(), delivery.progress);
    Settlement { receipt, disposition, progress, state: State::Succeeded, remember: None, reason: None }
}

#[async_trait]
impl Broker for Broken {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.store.capabilities();
        if self.has(PretendsToRefuse) {
            (capabilities.cancel, capabilities.locate) = (false, false);
        }
        capabilities
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        self.open("publish")?;
        self.nothing("publish", messages.len())?;
        if self.has(RefusesWholeBatches) {
            messages.iter().try_for_each(|message| message.check(self.limit()))?;
        }
        let mut outcomes = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            match self.stored(index, message) {
                Some(message) => {
                    let queue = message.queue.clone();
                    outcomes.extend(self.store.publish(&[message]).await?);
                    self.pop(&queue).await?;
                }
                None => outcomes.push(PublishOutcome::Accepted),
            }
        }
        if self.has(ShiftsAnswers) && !outcomes.is_empty() {
            outcomes.rotate_left(1);
        }
        if self.has(PretendsToTake) || self.has(DropsTheNewest) {
            let full = |outcome: &&mut PublishOutcome| matches!(outcome, PublishOutcome::Full { .. });
            outcomes.iter_mut().filter(full).for_each(|outcome| *outcome = PublishOutcome::Accepted);
        }
        Ok(outcomes)
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        self.open("ready")?;
        match self.defect {
            NeverWakes => tokio::time::sleep(wait).await,
            WakesEverybody => {
                tokio::time::sleep(wait.min(Duration::from_millis(500))).await;
                return Ok(());
            }
            PopsForWhoIsGone => {
                self.pops.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        let wait = if self.has(WaitsForEver) { Duration::from_secs(3_600) } else { wait };
        let queue = self.queue(queue);
        let told = tokio::select! {
            told = self.store.ready(&queue, wait) => told,
            () = self.ended.notified() => self.open("ready"),
            () = self.deafness() => std::future::pending().await,
        };
        if self.has(PopsForWhoIsGone) {
            self.pops.fetch_sub(1, Ordering::SeqCst);
        }
        told
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        self.open("fetch")?;
        let mut request = FetchRequest { queue: self.queue(&request.queue), ..request.clone() };
        match self.defect {
            BlocksInFetch => self.store.ready(&request.queue, Duration::from_secs(5)).await?,
            DeliversTwice => request.max = 1,
            IgnoresLease => request.lease = Duration::from_millis(50),
            IgnoresMax => request.max += 1,
            IgnoresReserves => request.reserve = Reserve::NONE,
            _ => {}
        }
        let mut deliveries = self.store.fetch(&request).await?;
        if self.has(DeliversTwice) && fastrand::u8(..100) == 0 {
            deliveries.extend(deliveries.clone());
        }
        Ok(self.bend(deliveries).await)
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        self.open("extend")?;
        self.nothing("extend", receipts.len())?;
        if self.has(ExtendsNothing) {
            return Ok(vec![LeaseStatus::Held; receipts.len()]);
        }
        let receipts: Vec<Receipt> = receipts.iter().map(|receipt| self.forged(receipt)).collect();
        if self.has(ExtendsOnOneRuntime) {
            let store = self.store.clone();
            return self.runtime.spawn(async move { store.extend(&receipts, lease).await }).await.unwrap();
        }
        self.store.extend(&receipts, lease).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        self.open("settle")?;
        self.nothing("settle", settlements.len())?;
        let settlements: Vec<Settlement> = settlements.iter().map(|settlement| self.bent(settlement)).collect();
        let mut outcomes = self.store.settle(&settlements).await?;
        if self.has(AcknowledgesById) {
            for done in settlements.iter().filter(|one| one.disposition == Disposition::Acknowledge) {
                self.store.cancel(&done.receipt.queue, &done.receipt.id).await?;
            }
        }
        if self.has(ShiftsAnswers) && !outcomes.is_empty() {
            outcomes.rotate_left(1);
        }
        Ok(outcomes)
    }

    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        self.open("cancel")?;
        if self.has(CancelsNothing) { Ok(CancelOutcome::Cancelled) } else { self.store.cancel(queue, id).await }
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        self.open("locate")?;
        if self.has(LocatesNothing) { Ok(None) } else { self.store.locate(queue, id).await }
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.open("dead_letters")?;
        let mut page = self.store.dead_letters(queue, cursor, max).await?;
        self.nothing("dead_letters", page.letters.len())?;
        match self.defect {
            LeavesDeadLettersOut if page.next.is_some() => drop(page.letters.pop()),
            KeepsDeadLettersAtHome => page.letters.retain(|letter| self.buried.lock().unwrap().contains(&letter.id)),
            _ => {}
        }
        Ok(page)
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        self.open("replay")?;
        let unedited = |letter: &Replay| letter.id.clone().into();
        let unedited: Vec<Replay> = letters.iter().filter(|_| self.has(ForgetsEdits)).map(unedited).collect();
        let replayed = self.store.replay(queue, if self.has(ForgetsEdits) { &unedited } else { letters }).await?;
        Ok(if self.has(ReplaysAnything) { letters.len() } else { replayed })
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.open("discard")?;
        let discarded = self.store.discard(queue, ids).await?;
        Ok(if self.has(DiscardsAnything) { ids.len() } else { discarded })
    }

    fn risks(&self) -> Vec<String> {
        self.store.risks()
    }

    async fn close(&self) {
        match self.defect {
            ClosesNothing => return,
            ClosesTheStore => self.store.close().await,
            _ => {}
        }
        self.closed.store(true, Ordering::SeqCst);
        self.ended.notify_waiters();
    }
}
