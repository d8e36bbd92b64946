//! A backend with one defect.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::{
    Backend, BackendCapabilities, Error, ErrorKind, Record, Result, Retention, SaveOutcome, TaskId, Token,
};
use windlass_testing::MemoryBackend;

use super::backend::Defect::{self, *};
use super::{cut, lossy, tame};

#[derive(Debug)]
pub(super) struct Broken {
    store: MemoryBackend,
    defect: Defect,
    closed: AtomicBool,
    disturbed: AtomicBool,
    ended: Notify,
    broken: Notify,
    /// Ids that somebody waits for, or that nobody is told of any more.
    marked: Mutex<HashSet<TaskId>>,
    saved: Mutex<VecDeque<TaskId>>,
}

impl Broken {
    pub(super) fn new(defect: Defect) -> Arc<Self> {
        Arc::new(Self::over(MemoryBackend::new(), defect))
    }

    pub(super) fn pair(defect: Defect) -> (Arc<Self>, Arc<Self>) {
        let store = MemoryBackend::new();
        let other = if defect == KeepsToItself { MemoryBackend::new() } else { store.clone() };
        (Arc::new(Self::over(store, defect)), Arc::new(Self::over(other, defect)))
    }

    fn over(store: MemoryBackend, defect: Defect) -> Self {
        Self {
            store,
            defect,
            closed: AtomicBool::new(false),
            disturbed: AtomicBool::new(false),
            ended: Notify::new(),
            broken: Notify::new(),
            marked: Mutex::default(),
            saved: Mutex::default(),
        }
    }

    /// The connections break; the store is in the same process, so nothing need happen.
    pub(super) fn disturb(&self) {
        self.disturbed.store(true, Ordering::SeqCst);
        self.broken.notify_waiters();
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, operation, "closed"));
        }
        if self.has(NeverReconnects) && self.disturbed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, operation, "no connection"));
        }
        Ok(())
    }

    /// An error for what is empty.
    fn nothing(&self, operation: &'static str, count: usize) -> Result<()> {
        let errs = self.has(ErrsOnNothing) && count == 0;
        if errs { Err(Error::new(ErrorKind::Invalid, operation, "nothing to do")) } else { Ok(()) }
    }

    /// The record as it is stored, or what is answered instead.
    async fn stored(&self, index: usize, record: &Record) -> Result<Result<Record, SaveOutcome>> {
        let mut record = record.clone();
        let before = self.store.load(std::slice::from_ref(&record.id)).await?.remove(0);
        match self.defect {
            KeepsOnlyEnds if !record.state.is_final() => return Ok(Err(SaveOutcome::Saved)),
            LosesOneOfABatch if index == 7 => return Ok(Err(SaveOutcome::Saved)),
            FirstWins if before.is_some() => return Ok(Err(SaveOutcome::Refused)),
            GuardsBackwards if before.is_some_and(|before| before.token < record.token) => {
                return Ok(Err(SaveOutcome::Refused));
            }
            NoGuard | GuardsBackwards => self.store.forget(std::slice::from_ref(&record.id)).await?,
            ChangesIds => record.id = tame(&record.id),
            CutsResults => record.result = record.result.as_ref().map(cut),
            EmptyIsNone => record.result = record.result.filter(|result| !result.is_empty()),
            ForgetsCauses => record.failure.iter_mut().for_each(|failure| failure.causes.clear()),
            ForeverIsNever if record.status_ttl == Retention::Forever => record.status_ttl = Retention::None,
            KeepsForEver => (record.status_ttl, record.result_ttl) = (Retention::Forever, Retention::Forever),
            ReencodesResults => record.result = record.result.map(|result| lossy(&result)),
            RoundsNumbers => record.token = Token(record.token.0 as f64 as u64),
            _ => {}
        }
        Ok(Ok(record))
    }

    async fn after_saving(&self, record: &Record) -> Result<()> {
        if self.has(TellsRefusedWrites) && record.state.is_final() {
            self.store.forget(std::slice::from_ref(&record.id)).await?;
            self.store.save(std::slice::from_ref(record)).await?;
        }
        if self.has(EvictsTheOldest) {
            let oldest = {
                let mut saved = self.saved.lock().unwrap();
                saved.push_back(record.id.clone());
                if saved.len() > 5_000 { saved.pop_front() } else { None }
            };
            self.store.forget(oldest.as_slice()).await?;
        }
        Ok(())
    }

    async fn load_one(&self, id: &TaskId) -> Result<Option<Record>> {
        Ok(self.store.load(std::slice::from_ref(id)).await?.remove(0))
    }

    /// Looks now and then.
    async fn poll(&self, id: &TaskId, timeout: Duration, pause: Duration, any: bool) -> Result<Option<Record>> {
        let deadline = Instant::now() + timeout;
        loop {
            let record = self.load_one(id).await?;
            if let Some(record) = record.filter(|record| any || record.state.is_final()) {
                return Ok(Some(record));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep_until((Instant::now() + pause).min(deadline)).await;
        }
    }

    fn mark(&self, id: &TaskId) -> bool {
        self.marked.lock().unwrap().insert(id.clone())
    }

    async fn wait_deafened(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        let mut leaving = Leaving { backend: self, id, ended: false };
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if self.marked.lock().unwrap().contains(id) {
                sleep_until(deadline).await;
                break;
            }
            let told = self.store.wait(id, Duration::from_millis(10)).await?;
            if told.is_some() {
                leaving.ended = true;
                return Ok(told);
            }
        }
        leaving.ended = true;
        Ok(None)
    }

    async fn wait_bent(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        let long = timeout.max(Duration::from_millis(1));
        match self.defect {
            AnswersEarly => Ok(None),
            DroppedWaitDeafens => self.wait_deafened(id, timeout).await,
            NeverPolls => self.poll(id, timeout, long, false).await,
            PollsNowAndThen => self.poll(id, timeout, Duration::from_secs(2), false).await,
            TellsEveryState => self.poll(id, timeout, Duration::from_millis(10), true).await,
            TellsOne if !self.mark(id) => self.poll(id, timeout, long, false).await,
            TellsNobody => {
                sleep(timeout).await;
                self.store.wait(id, timeout).await
            }
            WaitEndsWithItsConnection => tokio::select! {
                told = self.store.wait(id, timeout) => told,
                () = self.broken.notified() => Err(Error::new(ErrorKind::Unavailable, "wait", "connection lost")),
            },
            _ => self.store.wait(id, timeout).await,
        }
    }
}

/// Somebody who waits; if he is dropped before his end, nobody is told any more.
struct Leaving<'a> {
    backend: &'a Broken,
    id: &'a TaskId,
    ended: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.backend.mark(self.id);
        }
    }
}

#[async_trait]
impl Backend for Broken {
    fn capabilities(&self) -> BackendCapabilities {
        let mut capabilities = self.store.capabilities();
        capabilities.push = !self.has(NeverPolls);
        capabilities
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.open("save")?;
        self.nothing("save", records.len())?;
        let mut outcomes = Vec::new();
        for (index, record) in records.iter().enumerate() {
            match self.stored(index, record).await? {
                Ok(record) => {
                    outcomes.extend(self.store.save(std::slice::from_ref(&record)).await?);
                    self.after_saving(&record).await?;
                }
                Err(outcome) => outcomes.push(outcome),
            }
        }
        if self.has(ShiftsAnswers) && !outcomes.is_empty() {
            outcomes.rotate_left(1);
        }
        Ok(outcomes)
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.open("load")?;
        self.nothing("load", ids.len())?;
        let ids: Vec<TaskId> = if self.has(ChangesIds) { ids.iter().map(tame).collect() } else { ids.to_vec() };
        let mut records = self.store.load(&ids).await?;
        if self.has(AnswersInAnyOrder) {
            records.reverse();
        }
        Ok(records)
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.open("wait")?;
        tokio::select! {
            told = self.wait_bent(id, timeout) => told,
            () = self.ended.notified() => self.open("wait").map(|()| None),
        }
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.open("forget")?;
        if self.has(ForgetsNothing) { Ok(()) } else { self.store.forget(ids).await }
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
