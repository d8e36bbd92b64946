//! The broker that `docs/adapters.md` walks through: a shelf of rows, which stands for a table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use windlass_core::message::{Schedule, wire};
use windlass_core::{
    Broker, CancelOutcome, Capabilities, Clock, DeadLetter, DeadPage, Delivery, Disposition, Error, ErrorKind,
    FetchRequest, LeaseStatus, Location, Message, Progress, PublishOutcome, QueueName, Receipt, Replay, Result,
    SettleOutcome, Settlement, TaskId, Timestamp, Token, Undecodable,
};
use windlass_testing::TokioClock;

#[derive(Debug)]
struct Row {
    id: TaskId,
    queue: QueueName,
    bytes: Bytes,
    progress: Progress,
    /// Its turn among those that wait. A claim does not change it.
    turn: u64,
    /// When it becomes due, if that is not now.
    due: Option<Timestamp>,
    /// Who has it, and until when.
    claim: Option<(Token, Timestamp)>,
    /// When it died, and why.
    dead: Option<(Timestamp, String)>,
}

impl Row {
    fn waits(&self) -> bool {
        self.due.is_none() && self.claim.is_none() && self.dead.is_none()
    }

    fn content(&self) -> Result<Message, Undecodable> {
        let undecodable = |malformed| Undecodable { malformed, bytes: self.bytes.clone() };
        wire::decode(self.id.clone(), self.queue.clone(), &self.bytes).map_err(undecodable)
    }
}

/// The store: all instances look at one. Each method is one transaction.
#[derive(Debug, Default)]
struct Shelf {
    rows: Mutex<Vec<Row>>,
    /// Turns and tokens are taken from one counter.
    counter: std::sync::atomic::AtomicU64,
    /// Rings when there may be something to fetch.
    bell: Notify,
}

impl Shelf {
    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The rows as they are at this moment: claims that ran out are lost, and what is due waits.
    fn rows(&self) -> (MutexGuard<'_, Vec<Row>>, Timestamp) {
        let (mut rows, now) = (self.rows.lock().unwrap(), TokioClock.now());
        for row in rows.iter_mut().filter(|row| row.claim.is_some_and(|(_, until)| until <= now)) {
            row.claim = None;
            row.progress.losses = row.progress.losses.saturating_add(1);
        }
        rows.sort_by_key(|row| row.due);
        for row in rows.iter_mut().filter(|row| row.due.is_some_and(|due| due <= now)) {
            row.due = None;
            row.turn = self.next();
        }
        rows.sort_by_key(|row| row.turn);
        (rows, now)
    }

    /// Whether something waits, and otherwise when that may change by itself.
    fn look(&self, queue: &QueueName) -> (bool, Option<Duration>) {
        let (rows, now) = self.rows();
        let ours = || rows.iter().filter(|row| row.queue == *queue);
        let next = ours().filter_map(|row| row.due.or(row.claim.map(|(_, until)| until))).min();
        (ours().any(Row::waits), next.map(|at| at.since(now)))
    }
}

/// One connection to the shelf.
#[derive(Debug)]
struct ShelfBroker {
    shelf: Arc<Shelf>,
    closed: AtomicBool,
    ended: Notify,
}

impl ShelfBroker {
    fn connect(shelf: &Arc<Shelf>) -> Arc<Self> {
        Arc::new(Self { shelf: Arc::clone(shelf), closed: AtomicBool::new(false), ended: Notify::new() })
    }

    fn open(&self, operation: &'static str) -> Result<&Shelf> {
        match self.closed.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Closed, operation, "the broker was closed")),
            false => Ok(&self.shelf),
        }
    }
}

fn unsupported<T>(operation: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, operation, "a shelf cannot do this; its capabilities say so"))
}

#[async_trait]
impl Broker for ShelfBroker {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("shelf");
        capabilities.max_payload = 1024 * 1024;
        capabilities.priority = false;
        capabilities.cancel = false;
        capabilities.locate = false;
        capabilities.idempotent = false;
        capabilities.limit = false;
        capabilities.drop_oldest = false;
        capabilities
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        let shelf = self.open("publish")?;
        let (mut rows, now) = shelf.rows();
        let mut outcomes = Vec::new();
        for message in messages {
            if let Err(error) = message.check(self.capabilities().max_payload) {
                outcomes.push(PublishOutcome::Rejected(error.with_task(message.id.clone())));
                continue;
            }
            let due = match message.schedule {
                Schedule::Now => None,
                Schedule::After(delay) => Some(now.plus(delay)),
                Schedule::At(at) => Some(at).filter(|at| *at > now),
            };
            let (id, queue, turn) = (message.id.clone(), message.queue.clone(), shelf.next());
            let (bytes, progress) = (wire::encode(message), Progress::default());
            rows.push(Row { id, queue, bytes, progress, turn, due, claim: None, dead: None });
            outcomes.push(PublishOutcome::Accepted);
            shelf.bell.notify_one();
        }
        Ok(outcomes)
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        loop {
            let shelf = self.open("ready")?;
            let (waits, next) = shelf.look(queue);
            if waits || Instant::now() >= deadline {
                return Ok(());
            }
            let until = next.map_or(deadline, |span| deadline.min(Instant::now() + span));
            tokio::select! {
                _ = timeout_at(until, shelf.bell.notified()) => {}
                () = self.ended.notified() => {}
            }
        }
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        let shelf = self.open("fetch")?;
        let (mut rows, now) = shelf.rows();
        let mut deliveries = Vec::new();
        for row in rows.iter_mut().filter(|row| row.waits() && row.queue == request.queue).take(request.max) {
            let token = Token(shelf.next());
            row.claim = Some((token, now.plus(request.lease)));
            let receipt = Receipt { queue: row.queue.clone(), id: row.id.clone(), token };
            deliveries.push(Delivery { receipt, progress: row.progress, content: row.content() });
        }
        Ok(deliveries)
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        let (mut rows, now) = self.open("extend")?.rows();
        let extend = |receipt: &Receipt| match held(&mut rows, receipt) {
            Some(index) => {
                rows[index].claim = Some((receipt.token, now.plus(lease)));
                LeaseStatus::Held
            }
            None => LeaseStatus::Lost,
        };
        Ok(receipts.iter().map(extend).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        let shelf = self.open("settle")?;
        let (mut rows, now) = shelf.rows();
        let mut outcomes = Vec::new();
        for settlement in settlements {
            let Some(index) = held(&mut rows, &settlement.receipt) else {
                outcomes.push(SettleOutcome::Lost);
                continue;
            };
            let row = &mut rows[index];
            (row.claim, row.progress) = (None, settlement.progress);
            match settlement.disposition {
                Disposition::Acknowledge => drop(rows.remove(index)),
                Disposition::Release => {}
                Disposition::Requeue { after } => (row.due, row.turn) = (Some(now.plus(after)), shelf.next()),
                Disposition::DeadLetter => row.dead = Some((now, settlement.reason.clone().unwrap_or_default())),
            }
            outcomes.push(SettleOutcome::Settled);
            shelf.bell.notify_one();
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
        let (rows, _) = self.open("dead letters")?.rows();
        let invalid = |_| Error::invalid("cursor", cursor.unwrap_or_default(), "the `next` of a page");
        let skipped: usize = cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(invalid))?;
        let mut dead: Vec<(&Row, &(Timestamp, String))> =
            rows.iter().filter(|row| row.queue == *queue).filter_map(|row| Some((row, row.dead.as_ref()?))).collect();
        dead.sort_by_key(|(_, (died_at, _))| *died_at);
        let next = Some(skipped + max).filter(|next| *next < dead.len()).map(|next| next.to_string());
        let letter = |(row, (died_at, reason)): (&Row, &(Timestamp, String))| DeadLetter {
            id: row.id.clone(),
            died_at: *died_at,
            reason: reason.clone(),
            progress: row.progress,
            content: row.content(),
        };
        Ok(DeadPage { letters: dead.into_iter().skip(skipped).take(max).map(letter).collect(), next })
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        for edited in letters.iter().filter_map(|letter| letter.edited.as_ref()) {
            edited.check(self.capabilities().max_payload)?;
        }
        let shelf = self.open("replay")?;
        let (mut rows, _) = shelf.rows();
        let mut replayed = 0;
        for letter in letters {
            let is_it = |row: &&mut Row| row.dead.is_some() && row.queue == *queue && row.id == letter.id;
            let Some(row) = rows.iter_mut().find(is_it) else { continue };
            (row.dead, row.progress, row.turn) = (None, Progress::default(), shelf.next());
            letter.edited.iter().for_each(|edited| row.bytes = wire::encode(edited));
            replayed += 1;
            shelf.bell.notify_one();
        }
        Ok(replayed)
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        let shelf = self.open("discard")?;
        let (mut rows, _) = shelf.rows();
        let before = rows.len();
        rows.retain(|row| !(row.dead.is_some() && row.queue == *queue && ids.contains(&row.id)));
        Ok(before - rows.len())
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.ended.notify_waiters();
    }
}

/// The row of a claim, if it is still this one.
fn held(rows: &mut [Row], receipt: &Receipt) -> Option<usize> {
    let is_held = |row: &Row| row.claim.is_some_and(|(token, _)| token == receipt.token);
    rows.iter().position(|row| row.queue == receipt.queue && row.id == receipt.id && is_held(row))
}

mod conformance {
    use super::{Arc, Shelf, ShelfBroker};

    async fn pair() -> (Arc<ShelfBroker>, Arc<ShelfBroker>) {
        let shelf = Arc::default();
        (ShelfBroker::connect(&shelf), ShelfBroker::connect(&shelf))
    }

    windlass_testing::broker_conformance!(async { ShelfBroker::connect(&Arc::<Shelf>::default()) }, pair = pair());
}
