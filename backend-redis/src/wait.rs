//! Waits for the end of tasks: pushed by the server, with polling as the safety net.
//!
//! All waits of a backend share one [`Board`], on which each notes its id. Two tasks on the thread
//! of the connections serve it: [`crate::register`] tells the server who waits, [`crate::ears`]
//! hears what has ended.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use windlass_core::{Record, Result, TaskId};

use crate::board::{Answer, Board};
use crate::connection::closed;
use crate::ears::{Ear, Ears};
use crate::register;
use crate::store::Store;
use crate::thread::Spawner;

/// All waits of one backend.
pub(crate) struct WaitHub {
    spawner: Spawner,
    board: Arc<Board>,
    ears: Arc<Ears>,
    served: AtomicBool,
}

impl WaitHub {
    /// A hub that listens and registers from the first wait on.
    pub(crate) fn new(spawner: Spawner, store: Arc<Store>, ears: Arc<Ears>, poll: Duration) -> Self {
        Self { spawner, board: Arc::new(Board::new(store, poll)), ears, served: AtomicBool::new(false) }
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
        if !self.served.swap(true, Ordering::Relaxed) {
            self.spawner.detach(register::serve(Arc::clone(&self.board)));
            let inbox = self.board.store.keys.inbox(&self.board.inbox);
            self.ears.add(&inbox, Arc::clone(&self.board) as Arc<dyn Ear>);
        }
        Ok((Ticket { board: &self.board, id: id.clone(), number }, answer))
    }

    /// Ends all waits.
    pub(crate) fn close(&self) {
        self.board.close();
    }
}

impl fmt::Debug for WaitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitHub").field("inbox", &self.board.inbox).field("waiting", &self.board.waiting()).finish()
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
