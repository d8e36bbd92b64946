//! From completions to the stores, in batches and in the one safe order.
//!
//! The result is saved first and the broker is told last. If the worker dies between the two, the
//! task is delivered again and the backend answers that it has ended already: a second telling, not
//! a second truth. The other way round, a crash would leave a finished task without its result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use windlass_core::limits::batches;
use windlass_core::{
    Delivery, Disposition, Error, ErrorKind, Failure, FailureKind, Receipt, Record, Result, SaveOutcome, SettleOutcome,
    Settlement,
};

use super::aftermath::{Aftermath, stored};
use super::completion::{Completion, Conclusion, Ending};
use super::engine::Engine;
use super::lease::Claim;
use super::stats::describe;
use crate::pause::{Pause, in_time};

/// Most completions in one batch.
const BATCH: usize = 256;
/// Batches under way at the same time: one can be saved while the one before is settled.
const UNDER_WAY: usize = 2;

/// Settles until the last lane has gone; `_done` ends the keeping of leases after that.
pub(super) async fn run(engine: Arc<Engine>, mut completions: mpsc::Receiver<Completion>, _done: DropGuard) {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let work = TaskTracker::new();
    let aftermath = Aftermath::new(Arc::clone(&engine), work.clone());
    let mut batch = Vec::with_capacity(BATCH);
    while completions.recv_many(&mut batch, BATCH).await > 0 {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        while batch.len() < BATCH {
            let Ok(completion) = completions.try_recv() else { break };
            batch.push(completion);
        }
        let (engine, batch, more) = (Arc::clone(&engine), std::mem::take(&mut batch), work.clone());
        let aftermath = aftermath.clone();
        work.spawn(async move {
            settle(&engine, batch, &aftermath, &more).await;
            drop(permit);
        });
    }
    work.close();
    work.wait().await;
}

async fn settle(engine: &Arc<Engine>, batch: Vec<Completion>, aftermath: &Aftermath, more: &TaskTracker) {
    let batch = drop_lost(engine, batch).await;
    let mut records = Vec::with_capacity(batch.len());
    let mut settlements = Vec::with_capacity(batch.len());
    let mut ended = Vec::new();
    for Completion { receipt, task, ending } in batch {
        let Ending::Settle(mut conclusion) = ending else { continue };
        report(&receipt, task.as_ref().map_or("?", |task| task.as_str()), &conclusion);
        if engine.has_aftermath(&conclusion) {
            ended.extend(aftermath.take(receipt, *conclusion).await);
            continue;
        }
        if engine.backend.is_some() {
            records.extend(conclusion.only_record(&receipt));
        }
        settlements.extend(conclusion.settlement(receipt));
    }
    aftermath.begin(ended);
    match save(engine, &records).await {
        Some(Some(outcomes)) => {
            tell_broker(engine, &settlements).await;
            let refused = records.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == SaveOutcome::Refused);
            stored(engine, refused.map(|(record, _)| record)).await;
        }
        Some(None) => apart(engine, records, settlements, more),
        None => {}
    }
}

/// Saves records, and answers what became of each. `Some(None)` if the store refuses at least one of
/// several for good, `None` if the worker may not wait any longer.
pub(super) async fn save(engine: &Engine, records: &[Record]) -> Option<Option<Vec<SaveOutcome>>> {
    let Some(backend) = &engine.backend else { return Some(Some(Vec::new())) };
    let mut outcomes = Vec::new();
    for records in batches(records, Record::weight) {
        let save = || async {
            match in_time("save", backend.save(records)).await {
                Err(error) if !error.is_retryable() && records.len() > 1 => Ok(None),
                answer => answer.map(Some),
            }
        };
        match until_done(engine, "save results", save).await? {
            Some(answers) if outcomes.is_empty() => outcomes = answers,
            Some(answers) => outcomes.extend(answers),
            None => return Some(None),
        }
    }
    Some(Some(outcomes))
}

/// Lets each task of a batch go its own way, so that one that cannot be saved holds up no other.
/// It is tried again, with its lease kept, until it can be saved or the worker ends.
fn apart(engine: &Arc<Engine>, records: Vec<Record>, settlements: Vec<Settlement>, more: &TaskTracker) {
    let mut records = records.into_iter().peekable();
    for settlement in settlements {
        let record = records.next_if(|record| record.id == settlement.receipt.id);
        let engine = Arc::clone(engine);
        more.spawn(async move {
            if save(&engine, record.as_slice()).await.is_some() {
                tell_broker(&engine, &[settlement]).await;
            }
        });
    }
}

/// Gives back what was claimed and has not begun: at the head of the queue, in its order.
pub(super) async fn give_back(engine: &Engine, deliveries: &[Delivery]) {
    let settlements: Vec<Settlement> = deliveries.iter().filter_map(|delivery| engine.release(delivery)).collect();
    // What is released last ends up first.
    for settlements in settlements.rchunks(BATCH) {
        tell_broker(engine, settlements).await;
    }
}

pub(super) async fn tell_broker(engine: &Engine, settlements: &[Settlement]) {
    if settlements.is_empty() {
        return;
    }
    let in_doubt = AtomicBool::new(false);
    let settle = || async {
        let answer = in_time("settle", engine.broker.settle(settlements)).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unknown) {
            in_doubt.store(true, Ordering::Relaxed);
        }
        answer
    };
    let Some(outcomes) = until_done(engine, "settle", settle).await else { return };
    for (settlement, outcome) in settlements.iter().zip(outcomes) {
        // After an attempt without an answer, "lost" may mean that this attempt was taken.
        if outcome == SettleOutcome::Settled || in_doubt.load(Ordering::Relaxed) {
            engine.stats.count(settlement.state);
            continue;
        }
        engine.stats.count_lost();
        tracing::warn!(target: "windlass::worker", task_id = %settlement.receipt.id, "claim lost before it was settled");
    }
    engine.leases.remove(settlements.iter().map(|settlement| &settlement.receipt));
}

/// Removes what another worker has by now. A claim whose time is over by our own clock (this
/// process was stopped, or the broker was away) is asked about first.
async fn drop_lost(engine: &Engine, batch: Vec<Completion>) -> Vec<Completion> {
    let mut claims = engine.leases.check(batch.iter().map(|completion| &completion.receipt));
    if claims.contains(&Claim::Doubtful) {
        let doubtful = batch.iter().zip(&claims).filter(|(_, claim)| **claim == Claim::Doubtful);
        let receipts: Vec<Receipt> = doubtful.map(|(completion, _)| completion.receipt.clone()).collect();
        until_done(engine, "ask about leases", || engine.leases.extend(&*engine.broker, &receipts)).await;
        claims = engine.leases.check(batch.iter().map(|completion| &completion.receipt));
    }
    let mut kept = Vec::with_capacity(batch.len());
    for (completion, claim) in batch.into_iter().zip(claims) {
        let lost = claim == Claim::Lost || matches!(completion.ending, Ending::Lost);
        if !lost {
            kept.push(completion);
            continue;
        }
        engine.stats.count_lost();
        tracing::warn!(target: "windlass::worker", task_id = %completion.receipt.id, "lease lost, result discarded");
        engine.leases.remove([&completion.receipt]);
        if let Some(reporter) = &engine.reporter {
            reporter.forget(&completion.receipt.id);
        }
    }
    kept
}

/// Repeats `call` until it succeeds; `None` if the worker may not wait any longer.
pub(super) async fn until_done<T, Answer>(engine: &Engine, what: &str, call: impl Fn() -> Answer) -> Option<T>
where
    Answer: Future<Output = Result<T>>,
{
    let mut pause = Pause::default();
    loop {
        let error = tokio::select! {
            () = engine.abandon.cancelled() => return None,
            answer = call() => match answer {
                Ok(value) => return Some(value),
                Err(error) => error,
            },
        };
        wait(engine, what, &error, &mut pause).await;
    }
}

async fn wait(engine: &Engine, what: &str, error: &Error, pause: &mut Pause) {
    if pause.is_news() {
        tracing::warn!(target: "windlass::worker", %error, "cannot {what}; trying again");
    }
    let span: Duration = pause.next();
    tokio::select! {
        () = engine.abandon.cancelled() => {}
        () = sleep(span) => {}
    }
}

fn report(receipt: &Receipt, task: &str, conclusion: &Conclusion) {
    let (task_id, attempt, state) = (&receipt.id, conclusion.attempt, conclusion.state());
    let next = describe(conclusion.transition.effects.settle);
    match (&conclusion.failure, conclusion.transition.effects.settle) {
        (Some(failure), Some(Disposition::DeadLetter)) => {
            let failure = loggable(failure);
            tracing::error!(target: "windlass::worker", %task_id, task, attempt, failure, next, "task {state}");
        }
        (Some(failure), _) => {
            let failure = loggable(failure);
            tracing::warn!(target: "windlass::worker", %task_id, task, attempt, failure, next, "task {state}");
        }
        (None, _) => tracing::debug!(target: "windlass::worker", %task_id, task, attempt, next, "task {state}"),
    }
}

/// What a log may say of a failure. A decoder quotes what it cannot decode, and arguments are never logged.
fn loggable(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::Arguments => "the arguments cannot be decoded; its record and its dead letter say more".to_owned(),
        _ => failure.to_string(),
    }
}
