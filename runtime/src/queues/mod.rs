//! What can be done with a queue as a whole: pause, resume, purge, move.

mod drain;
mod moving;
pub(crate) mod paused;
mod purge;

use windlass_core::{Error, ErrorKind, Notebook, QueueName, Result};

use crate::client::Client;
use crate::pause::in_time;

/// One queue, as an operator sees it. Made by [`Client::queue`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    name: QueueName,
}

impl Queue {
    pub(crate) fn new(client: Client, name: QueueName) -> Self {
        Self { client, name }
    }

    /// The name.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Keeps every worker, now and later, from taking tasks of this queue, until [`Queue::resume`].
    ///
    /// What runs goes on, what was fetched ahead is given back, and tasks can be enqueued as before.
    /// Workers learn of it at once, or within 10 s if the word is lost. It is kept where results
    /// are, so it outlives every process.
    ///
    /// # Errors
    /// `Unsupported` without a backend that has a notebook; `Unavailable` or `Unknown` if it cannot be
    /// reached: the call can be repeated.
    ///
    /// # Cancel safety
    /// If the future is dropped, the queue may be paused.
    pub async fn pause(&self) -> Result<()> {
        in_time("pause", paused::set(self.notebook("pause")?, &self.name, true)).await
    }

    /// Lets workers take tasks of this queue again. Does nothing if it is not paused.
    ///
    /// # Errors
    /// As [`Queue::pause`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the queue may be resumed.
    pub async fn resume(&self) -> Result<()> {
        in_time("resume", paused::set(self.notebook("resume")?, &self.name, false)).await
    }

    /// Whether the queue is paused.
    ///
    /// # Errors
    /// As [`Queue::pause`].
    pub async fn is_paused(&self) -> Result<bool> {
        let notebook = self.notebook("is_paused")?;
        let paused = in_time("is_paused", paused::are(notebook, std::slice::from_ref(&self.name))).await?;
        Ok(paused.first() == Some(&true))
    }

    /// Removes every task that waits in this queue now and is due; answers how many.
    ///
    /// Each is recorded as cancelled, with the reason "purged", before it is removed, so who waits for
    /// it is told; a task that belongs to a workflow ends it as a cancelled one does. What is enqueued
    /// after the call stays, as does what waits for its time, what runs, and dead letters. Messages
    /// that cannot be read stay too: a worker puts them to the dead letters.
    ///
    /// Tasks are removed in batches. With a million of them it takes seconds to minutes; workers may go
    /// on meanwhile, or be paused before.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` if a store cannot be reached: what was removed is removed, and the
    /// call can be repeated.
    ///
    /// # Cancel safety
    /// If the future is dropped, it ends after the batch under way.
    pub async fn purge(&self) -> Result<usize> {
        purge::run(&self.client, &self.name).await
    }

    /// Moves every task that waits in this queue now and is due to another queue; answers how many.
    ///
    /// They keep their ids, arguments, options and priority, and their place among each other; their
    /// counts of attempts begin anew, as with a replay. What is enqueued after the call stays, as does
    /// what waits for its time, and what the other queue has already under an id that its caller chose.
    /// A length limit of the other queue does not hold them up.
    ///
    /// A task is published to the other queue first and removed here after that. If the process dies
    /// between the two, the task is in both queues and runs twice; repeating the call puts that right
    /// unless a worker was faster. A handle from before the move finds the result as ever, but
    /// looks for the waiting task in the queue that it knows: for its status or to cancel it, take
    /// [`Client::handle_of`] with the new queue.
    ///
    /// # Errors
    /// `Invalid` if `other` is no name or this queue; otherwise as [`Queue::purge`].
    ///
    /// # Cancel safety
    /// If the future is dropped, it ends after the batch under way.
    pub async fn move_to(&self, other: impl AsRef<str>) -> Result<usize> {
        let other = QueueName::new(other)?;
        if other == self.name {
            return Err(Error::invalid("queue", format_args!("{other:?}"), "another queue than the one it is"));
        }
        moving::run(&self.client, &self.name, &other).await
    }

    fn notebook(&self, operation: &'static str) -> Result<&dyn Notebook> {
        let cure = match self.client.backend() {
            None => "a paused queue is noted in the result backend, and there is none: set backend.url".to_owned(),
            Some(backend) => match backend.notebook() {
                Some(notebook) => return Ok(notebook),
                None => {
                    let name = backend.capabilities().name;
                    format!(
                        "a paused queue is noted in the result backend, and {name} keeps no notes: set backend.url to one that does"
                    )
                }
            },
        };
        Err(Error::new(ErrorKind::Unsupported, operation, cure))
    }
}
