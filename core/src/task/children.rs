//! Tasks that a task enqueues.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Call, CallParts, Context};
use crate::{Error, ErrorKind, Options, QueueName, Result, TaskId};

/// Headers that a child has from its parent, unless its call names them: the trace that both belong to.
const INHERITED: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// Where a child waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: QueueName,
    /// Whether it is a new task; `false` if one of this id was already there.
    pub is_new: bool,
}

/// Who enqueues the children of tasks: the client of the worker, or a fake in a test.
#[async_trait]
pub trait Enqueue: Debug + Send + Sync {
    /// Enqueues calls; the answers are in the order of `calls`.
    async fn enqueue(&self, calls: Vec<CallParts>) -> Vec<Result<Enqueued>>;
}

/// The value of [`Shared`](super::Shared) by which tasks enqueue others. Workers put it there; tests of a
/// task that enqueues put a fake there.
#[derive(Debug, Clone)]
pub struct Children(pub Arc<dyn Enqueue>);

impl Context {
    /// Enqueues a child of this task. It belongs to the same trace (headers `traceparent`, `tracestate` and
    /// `baggage`), and must be finished when this task must be ([`Call::deadline`], the earlier of both).
    ///
    /// A run that is repeated enqueues its children again: give them ids made of [`Context::id`], and each
    /// is enqueued once.
    ///
    /// ```
    /// # use windlass_core::{Context, TaskDef, TaskError};
    /// const PAGE: TaskDef<(u32,), ()> = TaskDef::new("page");
    /// async fn book(context: Context, pages: u32) -> Result<(), TaskError> {
    ///     for page in 0..pages {
    ///         context.enqueue(PAGE.call((page,)).id(format!("{}-{page}", context.id()))).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As those of the client's `enqueue`; `Unsupported` in a test without [`Children`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the child may have been enqueued.
    pub async fn enqueue<O>(&self, call: Call<O>) -> Result<Enqueued> {
        let answer = self.enqueue_many([call]).await.pop();
        answer.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "enqueue", "no answer for the child")))
    }

    /// Enqueues many children in few round trips; the answers are in the order of `calls`, and one bad call
    /// does not stop the others. Otherwise as [`Context::enqueue`].
    pub async fn enqueue_many<O>(&self, calls: impl IntoIterator<Item = Call<O>>) -> Vec<Result<Enqueued>> {
        let mut answers = Vec::new();
        let mut parts = Vec::new();
        for call in calls {
            answers.push(call.into_parts().map(|call| parts.push(self.inherit(call))));
        }
        let sent = match self.state::<Children>() {
            _ if parts.is_empty() => Vec::new(),
            Some(children) => children.0.enqueue(parts).await,
            None => parts.iter().map(|_| Err(nobody())).collect(),
        };
        let mut sent = sent.into_iter();
        let mut next = || sent.next().unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "enqueue", "no answer")));
        answers.into_iter().map(|answer| answer.and_then(|()| next())).collect()
    }

    /// The call with what a child has from this task.
    pub fn inherit(&self, mut call: CallParts) -> CallParts {
        let Options { headers, deadline, .. } = &mut call.options;
        for name in INHERITED {
            if let Some(value) = self.headers().get(name)
                && !headers.contains_key(name)
            {
                headers.insert(name.to_owned(), value.clone());
            }
        }
        *deadline = match (*deadline, self.finish_by()) {
            (Some(own), Some(parent)) => Some(own.min(parent)),
            (own, parent) => own.or(parent),
        };
        call
    }
}

fn nobody() -> Error {
    let text = "there is nobody here to enqueue tasks: put `Children` among the shared values";
    Error::new(ErrorKind::Unsupported, "enqueue", text)
}
