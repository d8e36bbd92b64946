//! Who waits for which task, shared by the waits and the tasks that serve them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};
use windlass_core::{Error, Record, Result, State, TaskId};

use crate::connection::closed;
use crate::store::{Store, decode};

/// Where a wait hears what has become of its task.
pub(crate) type Answer = oneshot::Receiver<Result<Record>>;

/// See the module.
pub(crate) struct Board {
    pub(crate) store: Arc<Store>,
    pub(crate) poll: Duration,
    /// The name of the inbox.
    pub(crate) inbox: String,
    /// Whether the inbox is heard.
    pub(crate) heard: watch::Sender<bool>,
    /// Told when something is due or to be fetched.
    pub(crate) wake: Notify,
    entries: Mutex<Entries>,
}

/// The number of a wait, and how it is answered.
type Wait = (u64, oneshot::Sender<Result<Record>>);

#[derive(Default)]
struct Entries {
    waiting: HashMap<TaskId, Vec<Wait>>,
    lists: Lists,
    next: u64,
    closed: bool,
}

/// What is to be done about ids.
#[derive(Default)]
pub(crate) struct Lists {
    /// To be registered.
    pub(crate) due: Vec<TaskId>,
    /// To be loaded: those that have ended, but whose record was not sent along.
    pub(crate) fetch: Vec<TaskId>,
    /// To be unregistered: those that nobody waits for any more.
    left: Vec<TaskId>,
}

impl Board {
    pub(crate) fn new(store: Arc<Store>, poll: Duration) -> Self {
        Self {
            store,
            poll,
            inbox: format!("{:016x}", fastrand::u64(..)),
            heard: watch::Sender::new(false),
            wake: Notify::new(),
            entries: Mutex::default(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics between two changes that belong together.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one more wait; its number is for [`Board::leave`].
    pub(crate) fn join(&self, id: &TaskId) -> Result<(u64, Answer)> {
        let mut entries = self.entries();
        if entries.closed {
            return Err(closed("wait"));
        }
        let number = entries.next;
        entries.next += 1;
        let (sender, answer) = oneshot::channel();
        let waits = entries.waiting.entry(id.clone()).or_default();
        waits.push((number, sender));
        if waits.len() == 1 {
            entries.lists.due.push(id.clone());
            self.wake.notify_one();
        }
        Ok((number, answer))
    }

    /// Removes a wait, if it has not been answered.
    pub(crate) fn leave(&self, id: &TaskId, number: u64) {
        let mut entries = self.entries();
        let Some(waits) = entries.waiting.get_mut(id) else { return };
        waits.retain(|(other, _)| *other != number);
        if waits.is_empty() {
            entries.waiting.remove(id);
            entries.lists.left.push(id.clone());
        }
    }

    /// Ends all waits, and refuses those to come.
    pub(crate) fn close(&self) {
        let mut entries = self.entries();
        entries.closed = true;
        for (_, sender) in entries.waiting.drain().flat_map(|(_, waits)| waits) {
            // An error means that this wait has ended by itself.
            let _ = sender.send(Err(closed("wait")));
        }
    }

    /// How many tasks are waited for.
    pub(crate) fn waiting(&self) -> usize {
        self.entries().waiting.len()
    }

    /// Whether there is nothing to poll for.
    pub(crate) fn is_idle(&self) -> bool {
        let entries = self.entries();
        entries.waiting.is_empty() && entries.lists.left.is_empty()
    }

    /// Makes everything due that is waited for.
    pub(crate) fn all_due(&self) {
        let mut entries = self.entries();
        entries.lists.due = entries.waiting.keys().cloned().collect();
    }

    /// Takes at most `most` ids that are still waited for off a list; `None` if that is empty.
    pub(crate) fn take(&self, list: fn(&mut Lists) -> &mut Vec<TaskId>, most: usize) -> Option<Vec<TaskId>> {
        let mut entries = self.entries();
        let list = list(&mut entries.lists);
        if list.is_empty() {
            return None;
        }
        let mut taken = list.split_off(list.len().saturating_sub(most));
        taken.retain(|id| entries.waiting.contains_key(id));
        Some(taken)
    }

    /// Takes all ids that nobody waits for any more.
    pub(crate) fn take_left(&self) -> Vec<TaskId> {
        let mut entries = self.entries();
        let mut left = std::mem::take(&mut entries.lists.left);
        left.retain(|id| !entries.waiting.contains_key(id));
        left
    }

    /// Has records loaded.
    pub(crate) fn fetch(&self, ids: impl IntoIterator<Item = TaskId>) {
        self.entries().lists.fetch.extend(ids);
        self.wake.notify_one();
    }

    /// A task has ended; `bytes` is its record, or nothing if that has to be loaded.
    pub(crate) fn ended(&self, id: &TaskId, bytes: &Bytes) {
        if bytes.is_empty() {
            return self.fetch([id.clone()]);
        }
        match decode(id, bytes) {
            // Its result can be one that is kept apart.
            Ok(record) if record.state == State::Succeeded && record.result.is_none() => self.fetch([id.clone()]),
            answer => self.tell(id, &answer),
        }
    }

    /// Answers all who wait for this task.
    pub(crate) fn tell(&self, id: &TaskId, answer: &Result<Record>) {
        let waits = self.entries().waiting.remove(id);
        for (_, sender) in waits.into_iter().flatten() {
            // An error means that this wait has ended by itself.
            let _ = sender.send(match answer {
                Ok(record) => Ok(record.clone()),
                Err(error) => Err(error.duplicate()),
            });
        }
    }

    /// Something went wrong with these. What will not pass ends the waits; otherwise the next poll
    /// tries again.
    pub(crate) fn failed(&self, ids: Vec<TaskId>, error: &Error) {
        if error.is_retryable() {
            tracing::debug!(target: "windlass::backend::redis", "{error}; waiting on");
            let mut entries = self.entries();
            entries.lists.due.clear();
            entries.lists.fetch.clear();
            return;
        }
        match error.task_id() {
            Some(culprit) => {
                self.tell(culprit, &Err(error.duplicate()));
                self.fetch(ids.into_iter().filter(|id| id != culprit));
            }
            None => ids.iter().for_each(|id| self.tell(id, &Err(error.duplicate()))),
        }
    }
}
