//! Looks up what those who wait want to know: at once when something is announced or somebody
//! begins to wait, and all of it every few seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use windlass_core::limits::BATCH_ITEMS;
use windlass_core::{Record, Result, State, TaskId};

use crate::board::Board;
use crate::store::Store;

/// How much longer than a poll this process counts as one that listens.
const GRACE: Duration = Duration::from_secs(5);

/// Serves the board as long as the backend lives.
pub(crate) async fn serve(board: Arc<Board>) {
    let (poll, pooler) = (board.store.link.config().poll, board.store.link.config().pooler);
    let mut tick = interval(poll);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listens_since = None;
    loop {
        tokio::select! {
            () = board.wake.notified() => {}
            _ = tick.tick() => board.all_due(),
        }
        if board.waiting() == 0 {
            continue;
        }
        // A crash of the server forgets who listens.
        if board.take_is_new() {
            listens_since = None;
        }
        // Before looking, so that what ends after the look is announced.
        if !pooler && listens_since.is_none_or(|since: Instant| since.elapsed() >= poll) {
            listens_since = note(&board, poll).await;
        }
        look_up(&board).await;
    }
}

/// Notes that this process listens; until then, nothing is announced.
async fn note(board: &Board, poll: Duration) -> Option<Instant> {
    let lifetime = i64::try_from((poll * 3 + GRACE).as_millis()).unwrap_or(i64::MAX);
    match board.store.listen(&board.name, lifetime).await {
        Ok(()) => Some(Instant::now()),
        Err(error) => {
            tracing::debug!(target: "windlass::backend::postgres", "{error}; polling");
            None
        }
    }
}

async fn look_up(board: &Board) {
    while let Some(ids) = board.take(|lists| &mut lists.told, BATCH_ITEMS) {
        match board.store.load_told(&ids).await {
            Ok(told) => board.tell(told),
            Err(error) => {
                board.failed_told(ids, &error);
                break;
            }
        }
    }
    while let Some(ids) = board.take(|lists| &mut lists.due, BATCH_ITEMS) {
        match board.store.load_ended(&ids).await {
            Ok(ended) => board.tell(with_results(&board.store, ended).await),
            Err(error) => board.failed(&ids, &error),
        }
    }
}

/// Adds the results that are told and not kept: a look can come before the announcement does.
async fn with_results(store: &Store, mut ended: Vec<Result<Record>>) -> Vec<Result<Record>> {
    let is_bare = |record: &&Record| record.state == State::Succeeded && record.result.is_none();
    let bare: Vec<TaskId> = ended.iter().flatten().filter(is_bare).map(|record| record.id.clone()).collect();
    if bare.is_empty() {
        return ended;
    }
    // Without them, the records are as good as they are stored.
    let told = store.load_told(&bare).await.unwrap_or_default();
    for told in told.into_iter().flatten() {
        let mut records = ended.iter_mut().flatten();
        let same =
            records.find(|record| (&record.id, record.token, record.state) == (&told.id, told.token, told.state));
        if let Some(record) = same {
            record.result = told.result;
        }
    }
    ended
}
