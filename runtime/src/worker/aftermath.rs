//! What follows from the end of a run before the broker is told: its history, callbacks, the next
//! steps of a workflow.
//!
//! Nearly all completions need nothing of this and never come here. Those that do are saved first,
//! like all others, and what follows from a record that was refused does not happen: another worker
//! has the task. The claim is kept until the broker is told, so a worker that dies in between leaves
//! all of it to the next one, which learns from the record that the task has ended.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use windlass_core::{Receipt, Record, SaveOutcome, TaskId};

use super::completion::{Conclusion, Ending};
use super::engine::Engine;
use super::flow;
use super::settle::{save, tell_broker, until_done};
use crate::cancel;
use crate::pause::in_time;

/// Ends that something follows from and that are under way at the same time; beyond that, settling waits,
/// and with it the running of further tasks.
const UNDER_WAY: usize = 1024;

/// An end that something follows from.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) receipt: Receipt,
    pub(super) conclusion: Conclusion,
    /// Whether its record was taken, or had been saved before: this worker is the one to say how it ended.
    pub(super) is_ours: bool,
    room: OwnedSemaphorePermit,
}

impl Ended {
    /// It has ended for good, and this worker is the one to say so.
    pub(super) fn is_over(&self) -> bool {
        self.is_ours && self.conclusion.state().is_final()
    }
}

impl Engine {
    /// Whether something follows from this end beside its record.
    pub(super) fn has_aftermath(&self, conclusion: &Conclusion) -> bool {
        let Conclusion { message, reported, requested, .. } = conclusion;
        message.is_some() || *reported || *requested || self.keeps_history(conclusion)
    }

    fn tells_callbacks(&self, ended: &Ended) -> bool {
        let Conclusion { message, .. } = &ended.conclusion;
        ended.is_over() && message.as_ref().is_some_and(|message| !self.callbacks(message).is_empty())
    }
}

/// Where what follows from ends is done.
#[derive(Debug, Clone)]
pub(super) struct Aftermath {
    engine: Arc<Engine>,
    work: TaskTracker,
    room: Arc<Semaphore>,
}

impl Aftermath {
    pub(super) fn new(engine: Arc<Engine>, work: TaskTracker) -> Self {
        Self { engine, work, room: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    /// Takes up an end, when there is room.
    pub(super) async fn take(&self, receipt: Receipt, conclusion: Conclusion) -> Option<Ended> {
        let room = Arc::clone(&self.room).acquire_owned().await.ok()?;
        Some(Ended { receipt, conclusion, is_ours: true, room })
    }

    /// Sees to some ends. Code of the application is waited for by its own task only.
    pub(super) fn begin(&self, batch: Vec<Ended>) {
        let (alone, together): (Vec<Ended>, Vec<Ended>) =
            batch.into_iter().partition(|ended| self.engine.tells_callbacks(ended));
        self.spawn(together);
        self.apart(alone);
    }

    fn apart(&self, batch: Vec<Ended>) {
        for ended in batch {
            self.spawn(vec![ended]);
        }
    }

    fn spawn(&self, batch: Vec<Ended>) {
        if !batch.is_empty() {
            let this = self.clone();
            self.work.spawn(async move { this.follow(batch).await });
        }
    }

    /// From the records to the broker. It ends early only if the worker may not wait any longer: the tasks
    /// are delivered again then.
    async fn follow(&self, mut batch: Vec<Ended>) -> Option<()> {
        let engine = &self.engine;
        last_words(engine, &batch).await;
        if !saved(engine, &mut batch).await? {
            // One that cannot be saved holds up no other.
            self.apart(batch);
            return Some(());
        }
        engine.note_attempts(&batch).await;
        if !flow::go_on(engine, &mut batch).await? {
            self.apart(batch);
            return Some(());
        }
        callbacks(engine, &batch).await?;
        let (mut settlements, mut requested, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
        for Ended { receipt, conclusion, is_ours, room } in batch {
            // Who has the task now may not have read it yet.
            if conclusion.requested && is_ours {
                requested.push(receipt.id.clone());
            }
            settlements.extend(conclusion.settlement(receipt));
            rooms.push(room);
        }
        tell_broker(engine, &settlements).await;
        engine.followed(&requested).await;
        Some(())
    }
}

/// Writes what the runs have said last about their progress, so that it is there before their end is known.
async fn last_words(engine: &Engine, batch: &[Ended]) {
    let (Some(reporter), Some(backend)) = (&engine.reporter, &engine.backend) else { return };
    for ended in batch.iter().filter(|ended| ended.conclusion.reported) {
        reporter.finish(&**backend, &ended.receipt.id).await;
    }
}

async fn callbacks(engine: &Engine, batch: &[Ended]) -> Option<()> {
    for ended in batch.iter().filter(|ended| engine.tells_callbacks(ended)) {
        if let Some(message) = &ended.conclusion.message {
            let args = until_done(engine, "read the input of a task", || engine.given(message)).await?;
            tokio::select! {
                () = engine.abandon.cancelled() => return None,
                // A shutdown waits for it as for a task.
                () = engine.executions.track_future(engine.tell(message, args, &ended.conclusion)) => {}
            }
        }
    }
    Some(())
}

/// Saves the records and learns which were refused. `Some(false)` if the store takes one of several never.
async fn saved(engine: &Engine, batch: &mut [Ended]) -> Option<bool> {
    if engine.backend.is_none() {
        return Some(true);
    }
    let records: Vec<Option<Record>> = batch.iter().map(|ended| ended.conclusion.record(&ended.receipt)).collect();
    let places: Vec<usize> = (0..records.len()).filter(|place| records[*place].is_some()).collect();
    let records: Vec<Record> = records.into_iter().flatten().collect();
    let Some(outcomes) = save(engine, &records).await? else { return Some(false) };
    let refused: Vec<(usize, &Record)> = places
        .into_iter()
        .zip(&records)
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == SaveOutcome::Refused)
        .map(|(place, _)| place)
        .collect();
    let stored = stored(engine, refused.iter().map(|(_, record)| *record)).await?;
    for ((place, _), stored) in refused.iter().zip(stored) {
        batch[*place].is_ours = stored.is_some();
        if let Some(stored) = stored {
            engine.adopt(&mut batch[*place].conclusion, stored);
        }
    }
    Some(true)
}

/// What is stored in place of records that were refused, where that is the end of the task: by a worker that
/// was lost before it could tell anyone, or by who cancelled it. That of a later claim is not ours.
///
/// A request that could not know how long the task is kept is kept as long as the task.
pub(super) async fn stored<'a>(
    engine: &Engine,
    refused: impl Iterator<Item = &'a Record>,
) -> Option<Vec<Option<Record>>> {
    let refused: Vec<&Record> = refused.collect();
    let (Some(backend), [_, ..]) = (&engine.backend, &*refused) else { return Some(Vec::new()) };
    let ids: Vec<TaskId> = refused.iter().map(|record| record.id.clone()).collect();
    let stored = until_done(engine, "load results", || in_time("load", backend.load(&ids))).await?;
    let ours = |(record, stored): (&&Record, Option<Record>)| {
        stored.filter(|stored| stored.state.is_final() && stored.token <= record.token)
    };
    let stored: Vec<Option<Record>> = refused.iter().zip(stored).map(ours).collect();
    let shortened: Vec<Record> = refused
        .iter()
        .zip(&stored)
        .filter_map(|(record, stored)| Some((record, stored.as_ref()?)))
        .filter(|(_, stored)| cancel::is_request(stored))
        .map(|(record, stored)| Record {
            status_ttl: record.status_ttl,
            result_ttl: record.result_ttl,
            ..stored.clone()
        })
        .collect();
    save(engine, &shortened).await?;
    Some(stored)
}

impl Engine {
    /// Ends a run as its task has ended already.
    fn adopt(&self, conclusion: &mut Conclusion, stored: Record) {
        let Ending::Settle(mut ended) = self.as_stored(conclusion.transition.next.progress, &self.policy, stored)
        else {
            return;
        };
        (ended.status_ttl, ended.result_ttl) = (conclusion.status_ttl, conclusion.result_ttl);
        (ended.remember, ended.requested) = (conclusion.remember, conclusion.requested);
        ended.message = conclusion.message.take();
        *conclusion = *ended;
    }
}
