//! Waits for the end of tasks: pushed by the server, with polling as the truth.
//!
//! All waits of a backend share one [`Board`], on which each notes its id. Two tasks on the thread
//! of the connections serve it: [`crate::listener`] hears what is announced, [`crate::poll`] looks up
//! what is due, for all waits in one statement. The connection that listens also hears the signals
//! of the notebook.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use windlass_core::{Record, Result, TaskId};

use crate::board::{Answer, Board};
use crate::connection::closed;
use crate::listener::Audience;
use crate::notebook::{self, Ears};
use crate::thread::Spawner;
use crate::{listener, poll};

/// All waits of one backend, and who listens to signals.
pub(crate) struct WaitHub {
    spawner: Spawner,
    board: Arc<Board>,
    audience: Arc<Audience>,
    is_polled: AtomicBool,
    is_noted: AtomicBool,
    is_heard: AtomicBool,
}

impl WaitHub {
    /// A hub that starts its tasks when they are needed first.
    pub(crate) fn new(spawner: Spawner, board: Board, ears: Arc<Ears>, channels: [String; 2]) -> Self {
        let board = Arc::new(board);
        let audience = Arc::new(Audience::new(Arc::clone(&board), ears, channels));
        let [is_polled, is_noted, is_heard] = [false; 3].map(AtomicBool::new);
        Self { spawner, board, audience, is_polled, is_noted, is_heard }
    }

    /// Waits at most `timeout` until the task has ended.
    pub(crate) async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        if timeout.is_zero() {
            return self.look(id).await;
        }
        let (_ticket, answer) = self.join(id)?;
        match self.spawner.within(timeout, answer).await {
            Some(Ok(answer)) => answer.map(Some),
            Some(Err(_)) => Err(closed("wait")),
            None => Ok(None),
        }
    }

    async fn look(&self, id: &TaskId) -> Result<Option<Record>> {
        match self.board.store.load(std::slice::from_ref(id)).await {
            Ok(records) => Ok(records.into_iter().flatten().find(|record| record.state.is_final())),
            Err(error) if error.is_retryable() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn join(&self, id: &TaskId) -> Result<(Ticket<'_>, Answer)> {
        let (number, answer) = self.board.join(id)?;
        if !self.is_polled.swap(true, Ordering::Relaxed) {
            self.spawner.detach(poll::serve(Arc::clone(&self.board)));
        }
        if !self.board.store.link.config().pooler {
            self.hear();
        }
        Ok((Ticket { board: &self.board, id: id.clone(), number }, answer))
    }

    /// Listens to signals, as long as somebody wants them.
    pub(crate) fn listen(&self) {
        if !self.is_noted.swap(true, Ordering::Relaxed) {
            let (store, ears) = (Arc::clone(&self.board.store), Arc::clone(&self.audience.ears));
            self.spawner.detach(notebook::serve(store, ears));
        }
        self.hear();
    }

    fn hear(&self) {
        if !self.is_heard.swap(true, Ordering::Relaxed) {
            self.spawner.detach(listener::serve(Arc::clone(&self.audience)));
        }
        self.audience.wanted.notify_one();
    }

    /// Ends all waits and all listening.
    pub(crate) fn close(&self) {
        self.board.close();
        self.audience.ears.close();
    }
}

impl fmt::Debug for WaitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitHub").field("waiting", &self.board.waiting()).finish_non_exhaustive()
    }
}

/// Takes its wait off the board when dropped.
struct Ticket<'a> {
    board: &'a Board,
    id: TaskId,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.board.leave(&self.id, self.number);
    }
}
