use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use windlass_core::limits::BATCH_ITEMS;
use windlass_core::{
    Backend, BackendCapabilities, Clock, Error, ErrorKind, Notebook, Record, Result, Retention, SaveOutcome, TaskId,
    Timestamp,
};

use super::notebook::Notes;
use crate::TokioClock;

/// A result backend in the memory of this process. Clones share everything.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use windlass_core::Backend;
/// use windlass_testing::MemoryBackend;
/// let backend = MemoryBackend::new();
/// assert_eq!(backend.load(&["t1".parse()?]).await?, [None]);
/// # Ok::<_, windlass_core::Error>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryBackend {
    state: Arc<Mutex<State>>,
    notes: Arc<Notes>,
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<TaskId, Stored>,
    /// What is to be looked at, and when: records and results end. An entry can be out of date.
    ends: BTreeMap<(Timestamp, u64), TaskId>,
    /// Who waits for which task. A waiter that is told gets the final record as its wire bytes.
    waiters: HashMap<TaskId, watch::Sender<Option<Bytes>>>,
    sequence: u64,
    closed: bool,
}

#[derive(Debug)]
struct Stored {
    status: Bytes,
    /// `None`: for ever.
    until: Option<Timestamp>,
    result: Option<(Bytes, Option<Timestamp>)>,
}

impl MemoryBackend {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    /// How many listen to a topic of its notebook.
    pub fn listeners(&self, topic: &str) -> usize {
        self.notes.listeners(topic)
    }

    /// Whether it holds nothing any more: no record, no note, no set and no waiter. Listeners do not count.
    pub fn is_empty(&self) -> bool {
        let mut state = self.lock();
        state.sweep(TokioClock.now());
        state.records.is_empty() && state.waiters.is_empty() && self.notes.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no step panics while it holds the state")
    }

    fn open(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed(operation));
        }
        state.sweep(TokioClock.now());
        Ok(state)
    }

    /// The final record, or a place to wait for it.
    fn final_or_wait(&self, id: &TaskId) -> Result<Result<Record, watch::Receiver<Option<Bytes>>>> {
        let mut state = self.open("wait")?;
        if let Some(record) = state.load(id, TokioClock.now())?
            && record.state.is_final()
        {
            return Ok(Ok(record));
        }
        Ok(Err(state.waiters.entry(id.clone()).or_insert_with(|| watch::channel(None).0).subscribe()))
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the backend was closed")
}

fn decode(id: &TaskId, bytes: &Bytes) -> Result<Record> {
    let defect = |error| Error::new(ErrorKind::Internal, "decode", "a stored record is damaged").with_source(error);
    Record::decode(id.clone(), bytes).map_err(defect)
}

fn end(retention: Retention, now: Timestamp) -> Option<Timestamp> {
    match retention {
        Retention::None => Some(now),
        Retention::For(span) => Some(now.plus(span)),
        Retention::Forever => None,
    }
}

fn is_over(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_some_and(|until| until <= now)
}

impl State {
    /// Drops what has ended by now; so much at most that the step stays short.
    fn sweep(&mut self, now: Timestamp) {
        for _ in 0..BATCH_ITEMS {
            let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= now) else { return };
            let id = first.remove();
            let Some(stored) = self.records.get_mut(&id) else { continue };
            if is_over(stored.until, now) {
                self.records.remove(&id);
            } else if stored.result.as_ref().is_some_and(|(_, until)| is_over(*until, now)) {
                stored.result = None;
            }
        }
    }

    fn load(&self, id: &TaskId, now: Timestamp) -> Result<Option<Record>> {
        let Some(stored) = self.records.get(id).filter(|stored| !is_over(stored.until, now)) else { return Ok(None) };
        let mut record = decode(id, &stored.status)?;
        let kept = stored.result.as_ref().filter(|(_, until)| !is_over(*until, now));
        record.result = kept.map(|(result, _)| result.clone());
        Ok(Some(record))
    }

    fn save(&mut self, record: &Record, now: Timestamp) -> Result<SaveOutcome> {
        if let Some(stored) = self.load(&record.id, now)?
            && !record.replaces(&stored)
        {
            return Ok(SaveOutcome::Refused);
        }
        self.store(record, now);
        if record.state.is_final()
            && let Some(waiters) = self.waiters.get(&record.id)
        {
            waiters.send_replace(Some(record.encode().into()));
        }
        Ok(SaveOutcome::Saved)
    }

    fn store(&mut self, record: &Record, now: Timestamp) {
        let until = end(record.status_ttl, now);
        if is_over(until, now) {
            // What an earlier state left would be wrong from now on.
            self.records.remove(&record.id);
            return;
        }
        let result_until = end(record.result_ttl.min(record.status_ttl), now);
        let result = record.result.clone().filter(|_| !is_over(result_until, now)).map(|bytes| (bytes, result_until));
        for at in until.into_iter().chain(result_until.filter(|at| Some(*at) != until && result.is_some())) {
            self.sequence += 1;
            self.ends.insert((at, self.sequence), record.id.clone());
        }
        self.records.insert(record.id.clone(), Stored { status: record.encode_status().into(), until, result });
    }
}

/// Somebody who waits for a task; the last one to leave takes the place away.
struct Waiting<'a> {
    backend: &'a MemoryBackend,
    id: &'a TaskId,
    told: Option<watch::Receiver<Option<Bytes>>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.backend.lock();
        self.told = None;
        if state.waiters.get(self.id).is_some_and(|waiters| waiters.receiver_count() == 0) {
            state.waiters.remove(self.id);
        }
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn capabilities(&self) -> BackendCapabilities {
        BackendCapabilities::all("memory")
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        let mut state = self.open("save")?;
        let now = TokioClock.now();
        records.iter().map(|record| state.save(record, now)).collect()
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        let state = self.open("load")?;
        let now = TokioClock.now();
        ids.iter().map(|id| state.load(id, now)).collect()
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        let told = match self.final_or_wait(id)? {
            Ok(record) => return Ok(Some(record)),
            Err(told) => told,
        };
        let mut waiting = Waiting { backend: self, id, told: Some(told) };
        let Some(told) = waiting.told.as_mut() else { return Ok(None) };
        match tokio::time::timeout(timeout, told.wait_for(Option::is_some)).await {
            Ok(Ok(record)) => record.as_ref().map(|bytes| decode(id, bytes)).transpose(),
            Ok(Err(_)) => Err(closed("wait")),
            Err(_) => Ok(None),
        }
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        let mut state = self.open("forget")?;
        for id in ids {
            state.records.remove(id);
        }
        Ok(())
    }

    fn notebook(&self) -> Option<&dyn Notebook> {
        Some(self)
    }

    async fn close(&self) {
        self.notes.close();
        let mut state = self.lock();
        state.closed = true;
        // Dropping the senders ends every wait.
        state.waiters.clear();
    }
}
