//! Who waits for which task, shared by the waits and the tasks that serve them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use windlass_core::{Error, ErrorKind, Record, Result, TaskId};

use crate::connection::closed;
use crate::store::Store;

/// Where a wait hears what has become of its task.
pub(crate) type Answer = oneshot::Receiver<Result<Record>>;

/// See the module.
pub(crate) struct Board {
    pub(crate) store: Arc<Store>,
    /// The name of this process among those that listen.
    pub(crate) name: String,
    /// Told when something is due.
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
    /// Whether the connection that hears was made anew.
    is_new: bool,
}

/// What is to be done about ids.
#[derive(Default)]
pub(crate) struct Lists {
    /// To be looked up.
    pub(crate) due: Vec<TaskId>,
    /// Those that have ended and are told, but not kept.
    pub(crate) told: Vec<TaskId>,
}

impl Board {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        let name = format!("{:016x}", fastrand::u64(..));
        Self { store, name, wake: Notify::new(), entries: Mutex::default() }
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

    /// Makes everything due that is waited for.
    pub(crate) fn all_due(&self) {
        let mut entries = self.entries();
        entries.lists.due = entries.waiting.keys().cloned().collect();
    }

    /// Whatever was announced until now may have been missed.
    pub(crate) fn hears_anew(&self) {
        self.all_due();
        self.entries().is_new = true;
        self.wake.notify_one();
    }

    /// Whether the connection that hears was made anew since the last time.
    pub(crate) fn take_is_new(&self) -> bool {
        std::mem::take(&mut self.entries().is_new)
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

    /// Tasks have ended: their ids, separated by spaces, with a plus before those that are not kept.
    pub(crate) fn announced(&self, notice: &str) {
        let mut entries = self.entries();
        if entries.waiting.is_empty() {
            return;
        }
        let before = entries.lists.due.len() + entries.lists.told.len();
        for word in notice.split(' ') {
            let (id, is_kept) = word.strip_prefix('+').map_or((word, true), |id| (id, false));
            match TaskId::new(id) {
                Ok(id) if !entries.waiting.contains_key(&id) => {}
                Ok(id) if is_kept => entries.lists.due.push(id),
                Ok(id) => entries.lists.told.push(id),
                Err(error) => tracing::debug!(target: "windlass::backend::postgres", "announced: {error}"),
            }
        }
        if entries.lists.due.len() + entries.lists.told.len() > before {
            self.wake.notify_one();
        }
    }

    /// Answers all who wait for these tasks.
    pub(crate) fn tell(&self, ended: Vec<Result<Record>>) {
        for answer in ended {
            match answer {
                Ok(record) => {
                    let waits = self.entries().waiting.remove(&record.id);
                    for (_, sender) in waits.into_iter().flatten() {
                        // An error means that this wait has ended by itself.
                        let _ = sender.send(Ok(record.clone()));
                    }
                }
                Err(error) => match error.task_id() {
                    Some(id) => self.fail(std::slice::from_ref(id), &error),
                    None => tracing::warn!(target: "windlass::backend::postgres", "{error}"),
                },
            }
        }
    }

    /// Something went wrong with these. What waiting does not cure ends the waits; otherwise the next
    /// poll tries again.
    pub(crate) fn failed(&self, ids: &[TaskId], error: &Error) {
        if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Config | ErrorKind::Internal) {
            return self.fail(ids, error);
        }
        tracing::debug!(target: "windlass::backend::postgres", "{error}; waiting on");
        self.entries().lists.due.clear();
    }

    /// What was told is told once, so it is asked for again.
    pub(crate) fn failed_told(&self, ids: Vec<TaskId>, error: &Error) {
        self.failed(&ids, error);
        self.entries().lists.told.extend(ids);
    }

    fn fail(&self, ids: &[TaskId], error: &Error) {
        for id in ids {
            let waits = self.entries().waiting.remove(id);
            for (_, sender) in waits.into_iter().flatten() {
                let _ = sender.send(Err(error.duplicate()));
            }
        }
    }
}
