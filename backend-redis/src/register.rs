//! Tells the server what is waited for, and reads what has ended unheard.
//!
//! The ids of all waits that came meanwhile are registered in one call. Every few seconds all ids
//! are registered again, which also answers what has ended unheard and mends what the server has
//! forgotten.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use windlass_core::{ErrorKind, Result, TaskId};

use crate::board::Board;
use crate::scripts;
use crate::store::{LARGEST_PUSH, Store};

/// Most ids in one call that registers.
const REGISTER_ITEMS: usize = 500;
/// Most records in one call that loads; they can be large.
const FETCH_ITEMS: usize = 16;
/// How long the server remembers who waits, unless somebody registers.
const WAITERS_MILLIS: u64 = 3_600_000;

/// Registers waits as they come, and all of them at each poll and when the inbox is heard (again).
pub(crate) async fn serve(board: Arc<Board>) {
    let mut heard = board.heard.subscribe();
    let mut next_poll = Instant::now() + board.poll;
    loop {
        let idle = board.is_idle();
        let all = tokio::select! {
            () = board.wake.notified() => false,
            Ok(()) = heard.changed() => *heard.borrow_and_update(),
            () = sleep_until(next_poll), if !idle => true,
        };
        if all || idle {
            next_poll = Instant::now() + board.poll;
        }
        if all {
            board.all_due();
        }
        // What is pushed before the inbox is heard would be lost; until then only the poll helps.
        if all || *heard.borrow() {
            register(&board).await;
        }
        fetch(&board).await;
        if all {
            unregister(&board).await;
        }
    }
}

async fn register(board: &Board) {
    while let Some(ids) = board.take(|lists| &mut lists.due, REGISTER_ITEMS) {
        match register_batch(board, &ids).await {
            Ok(records) => {
                for (id, bytes) in ids.iter().zip(records) {
                    if let Some(bytes) = bytes {
                        board.ended(id, &bytes);
                    }
                }
            }
            // A server that is full or read-only can still be read.
            Err(error) if error.kind() == ErrorKind::Rejected && error.is_retryable() => board.fetch(ids),
            Err(error) => board.failed(ids, &error),
        }
    }
}

async fn register_batch(board: &Board, ids: &[TaskId]) -> Result<Vec<Option<Bytes>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let Store { link, keys, scripts } = &*board.store;
    let mut call = scripts::call(&scripts.register, 1 + ids.len(), 4, 96 * ids.len());
    call.arg(keys.waiters());
    for id in ids {
        call.arg(keys.status(id));
    }
    call.arg(&board.inbox).arg(keys.id_offset()).arg(LARGEST_PUSH).arg(WAITERS_MILLIS);
    let send = |mut connection| async move { scripts::run(&scripts.register, &call, &mut connection).await };
    link.ask("wait", false, send).await
}

async fn fetch(board: &Board) {
    while let Some(ids) = board.take(|lists| &mut lists.fetch, FETCH_ITEMS) {
        match board.store.load(&ids).await {
            Ok(records) => {
                for record in records.into_iter().flatten().filter(|record| record.state.is_final()) {
                    let id = record.id.clone();
                    board.tell(&id, &Ok(record));
                }
            }
            Err(error) => board.failed(ids, &error),
        }
    }
}

/// Best effort: what stays behind is removed when the task ends or the hash expires.
async fn unregister(board: &Board) {
    let Store { link, keys, scripts } = &*board.store;
    for ids in board.take_left().chunks(REGISTER_ITEMS) {
        let mut call = scripts::call(&scripts.unregister, 1, 1 + ids.len(), 64 * ids.len());
        call.arg(keys.waiters()).arg(&board.inbox);
        for id in ids {
            id.with_str(|id| {
                call.arg(id);
            });
        }
        let send = |mut connection| async move { scripts::run(&scripts.unregister, &call, &mut connection).await };
        if let Err(error) = link.ask::<(), _>("wait", false, send).await {
            tracing::debug!(target: "windlass::backend::redis", "{error}; waits that have ended stay registered");
        }
    }
}
