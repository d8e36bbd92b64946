//! From what running tasks say about their progress to the store: in batches, and only by who has the task.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_core::task::Report;
use windlass_core::{Backend, Context, Expected, NoteChange, Notebook, Result, Retention, TaskId, Token, WriteOutcome};

use super::lease::Leases;
use crate::notes::{self, PROGRESS};
use crate::pause::in_time;
use crate::progress;

/// The shortest time between two values of a task.
const PACE: Duration = Duration::from_millis(100);
/// The shortest time that a value is kept.
const KEPT: Retention = Retention::For(Duration::from_secs(3600));
/// How often a value is tried to be written over what others write.
const TRIES: usize = 4;

/// What the tasks of a worker have said and the store does not know yet.
#[derive(Debug)]
pub(super) struct Reporter {
    /// Who is not in them any more has nothing to say.
    leases: Arc<Leases>,
    said: Mutex<HashMap<TaskId, Said>>,
    is_used: AtomicBool,
    changed: Notify,
}

#[derive(Debug, Clone)]
struct Said {
    token: Token,
    /// What is to be written; `None` if all of it is.
    value: Option<Bytes>,
    /// What must be there to be written over.
    over: Expected,
    keep: Retention,
}

impl Report for Reporter {
    fn report(&self, context: &Context, value: Bytes) {
        if !self.leases.has(context.id(), context.token()) {
            return;
        }
        let mut said = self.said();
        let keep = context.kept().max(KEPT);
        let new = Said { token: context.token(), value: None, over: Expected::Absent, keep };
        let entry = said.entry(context.id().clone()).or_insert(new);
        // A run that has lost its claim may go on to speak beside the one that has it.
        if entry.token <= context.token() {
            entry.token = context.token();
            entry.value = Some(value);
        }
        self.is_used.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

impl Reporter {
    pub(super) fn new(leases: Arc<Leases>) -> Self {
        Self { leases, said: Mutex::default(), is_used: AtomicBool::default(), changed: Notify::default() }
    }

    fn said(&self) -> MutexGuard<'_, HashMap<TaskId, Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this task has said anything that the store may not know.
    pub(super) fn knows(&self, id: &TaskId) -> bool {
        self.is_used.load(Ordering::Acquire) && self.said().contains_key(id)
    }

    /// Forgets what a run has said that has lost its claim.
    pub(super) fn forget(&self, id: &TaskId) {
        if self.is_used.load(Ordering::Acquire) {
            self.said().remove(id);
        }
    }

    /// Writes the last words of a run. What cannot be written is lost: it is not worth the result.
    pub(super) async fn finish(&self, backend: &dyn Backend, id: &TaskId) {
        let Some(notebook) = backend.notebook() else { return };
        if let Err(error) = self.write(notebook, |known| known == id).await {
            tracing::debug!(target: "windlass::worker", task_id = %id, %error, "the last progress is not written");
        }
        self.said().remove(id);
    }

    /// Writes what is new of some tasks, and again at once where something else was there than was expected:
    /// who has lost the task may still speak, and must not have the last word only because it speaks fast.
    async fn write(&self, notebook: &dyn Notebook, which: impl Fn(&TaskId) -> bool) -> Result<()> {
        for _ in 0..TRIES {
            let new = |(id, said): (&TaskId, &Said)| Some((id.clone(), said.clone())).filter(|_| said.value.is_some());
            let news: Vec<(TaskId, Said)> = self.said().iter().filter(|(id, _)| which(id)).filter_map(new).collect();
            let mut is_done = true;
            for news in news.chunks(windlass_core::limits::BATCH_ITEMS) {
                is_done &= self.write_all(notebook, news).await?;
            }
            if is_done {
                break;
            }
        }
        Ok(())
    }

    /// Writes values in one call, and tells who listens. `false` if some are to be written again.
    async fn write_all(&self, notebook: &dyn Notebook, news: &[(TaskId, Said)]) -> Result<bool> {
        let changes = news.iter().map(|(id, said)| change(id, said)).collect::<Result<Vec<_>>>()?;
        let outcomes = in_time("write", notebook.write(&changes)).await?;
        let mut lost = Vec::new();
        let mut told = Vec::new();
        for ((id, written), outcome) in news.iter().zip(&outcomes) {
            match outcome {
                WriteOutcome::Written(version) => {
                    self.wrote(id, written, *version);
                    told.push(async { notebook.signal(&progress::topic(id), Bytes::new()).await });
                }
                WriteOutcome::Conflict => lost.push(id.clone()),
            }
        }
        let is_done = lost.is_empty();
        self.settle_conflicts(notebook, lost).await?;
        // Who listens looks by himself too.
        let _ = in_time("signal", async { Ok(join_all(told).await) }).await;
        Ok(is_done)
    }

    fn wrote(&self, id: &TaskId, written: &Said, version: u64) {
        if let Some(said) = self.said().get_mut(id) {
            said.over = Expected::Version(version);
            if said.value == written.value {
                said.value = None;
            }
        }
    }

    /// Something else is there than was expected: of an earlier run, which is written over, or of a later
    /// one, which is left alone.
    async fn settle_conflicts(&self, notebook: &dyn Notebook, ids: Vec<TaskId>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let keys = ids.iter().map(|id| notes::key(PROGRESS, id)).collect::<Result<Vec<_>>>()?;
        let stored = in_time("read", notebook.read(&keys)).await?;
        let mut said = self.said();
        for (id, stored) in ids.iter().zip(stored) {
            let Some(said) = said.get_mut(id) else { continue };
            let later = |value: &Bytes| progress::read(value).is_ok_and(|(token, _)| token > said.token);
            match stored {
                Some(note) if later(&note.value) => said.value = None,
                Some(note) => said.over = Expected::Version(note.version),
                None => said.over = Expected::Absent,
            }
        }
        Ok(())
    }
}

fn change(id: &TaskId, said: &Said) -> Result<NoteChange> {
    let value = said.value.as_ref().map(|value| progress::write(said.token, value));
    Ok(NoteChange { key: notes::key(PROGRESS, id)?, expected: said.over, value, keep: said.keep })
}

/// Writes what is said, as long as the worker lives. Idle, it waits for the first word.
pub(super) async fn run(reporter: Arc<Reporter>, backend: Arc<dyn Backend>, done: CancellationToken) {
    let Some(notebook) = backend.notebook() else { return };
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = reporter.changed.notified() => {}
        }
        // Some have spoken after their last words.
        reporter.said().retain(|id, said| reporter.leases.has(id, said.token));
        if let Err(error) = reporter.write(notebook, |_| true).await {
            tracing::debug!(target: "windlass::worker", %error, "progress is not written yet");
            reporter.changed.notify_one();
        }
        if reporter.said().values().any(|said| said.value.is_some()) {
            reporter.changed.notify_one();
        }
        sleep(PACE).await;
    }
}
