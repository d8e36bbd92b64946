//! Dead letters: list them, let them run again, as they were or edited, or discard them.

mod filter;
mod sweep;

use windlass_core::{Call, DeadLetter, DeadPage, Message, QueueName, Replay, Result, Schedule, TaskId};

pub use self::filter::Selection;
pub use self::sweep::Sweep;
use crate::cancel;
use crate::client::Client;
use crate::pause::in_time;

/// The dead letters of one queue: tasks that failed for good. Made by [`Client::dead`]; cheap to clone.
///
/// A dead letter that is put back runs again under its id, with all its retries, at once: a delay or a
/// time that it was enqueued with is over. What it was told to expire by still counts, unless it is
/// edited.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    client: Client,
    queue: QueueName,
}

impl DeadLetters {
    pub(crate) fn new(client: Client, queue: QueueName) -> Self {
        Self { client, queue }
    }

    /// Lists dead letters, the oldest first, at most `max`, each with its reason, its counts and what
    /// was enqueued; `cursor` is [`DeadPage::next`] of the page before.
    ///
    /// # Errors
    /// `Unavailable` if the broker cannot be reached, `Unsupported` if it keeps none, `Invalid` for a
    /// cursor that is none.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn list(&self, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        in_time("dead letters", self.client.broker().dead_letters(&self.queue, cursor, max)).await
    }

    /// Puts these dead letters back into their queue; answers how many of them there were.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` if the broker cannot be reached: the call can be repeated.
    ///
    /// # Cancel safety
    /// If the future is dropped, they may have been put back.
    pub async fn replay(&self, ids: &[TaskId]) -> Result<usize> {
        self.put_back(&ids.iter().cloned().map(Replay::from).collect::<Vec<_>>()).await
    }

    /// Puts a dead letter back with what `call` says: its task, its arguments (typed, or raw bytes by
    /// [`Call::raw`]) and the options that it names; id and queue stay, and so do the options that it
    /// does not name. Answers how many there were: 1 or 0.
    ///
    /// # Errors
    /// `Invalid` or `Codec` if the call is wrong, such as a payload that is too large; nothing was sent.
    /// Otherwise as [`DeadLetters::replay`].
    ///
    /// # Cancel safety
    /// If the future is dropped, it may have been put back.
    pub async fn replay_edited<O>(&self, letter: &DeadLetter, call: Call<O>) -> Result<usize> {
        let edited = self.edit(letter, call)?;
        self.put_back(&[edited]).await
    }

    /// Removes these dead letters for good; answers how many of them there were.
    ///
    /// # Errors
    /// As [`DeadLetters::replay`].
    ///
    /// # Cancel safety
    /// If the future is dropped, they may have been removed.
    pub async fn discard(&self, ids: &[TaskId]) -> Result<usize> {
        in_time("discard", self.client.broker().discard(&self.queue, ids)).await
    }

    /// All dead letters, to narrow down and then to replay, to discard or to count.
    pub fn select(&self) -> Selection {
        Selection::all(self.clone())
    }

    async fn put_back(&self, letters: &[Replay]) -> Result<usize> {
        let notebook = self.client.backend().and_then(|backend| backend.notebook());
        if let (Some(notebook), [_, ..]) = (notebook, letters) {
            // Who puts them back wants them to run, whatever was asked for before.
            let ids: Vec<TaskId> = letters.iter().map(|letter| letter.id.clone()).collect();
            cancel::withdraw(notebook, &ids).await;
        }
        in_time("replay", self.client.broker().replay(&self.queue, letters)).await
    }

    /// The letter with what the call says in place of what it was; checked as if it were enqueued.
    fn edit<O>(&self, letter: &DeadLetter, call: Call<O>) -> Result<Replay> {
        let edited = call.into_parts().and_then(|parts| self.client.message(parts));
        let mut edited = edited.map_err(|error| error.with_task(letter.id.clone()))?;
        if let Ok(original) = &letter.content {
            edited.options = edited.options.or(&original.options);
            edited.remember = original.remember;
            edited.unknown.clone_from(&original.unknown);
            edited.flow.clone_from(&original.flow);
        }
        let (id, queue) = (letter.id.clone(), self.queue.clone());
        let edited = Message { id: id.clone(), queue, schedule: Schedule::Now, limit: None, ..edited };
        Ok(Replay { id, edited: Some(edited) })
    }
}
