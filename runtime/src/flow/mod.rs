//! How workflows go on: what follows from the end of a task, and what the client does with a whole.
//!
//! Everything here may be done twice, by several workers at the same time, and be broken off anywhere:
//! places of sets stay as they were filled first, a task has the same id whoever publishes it, and the
//! records that end a walk are written after all that they stand for.

mod advance;
mod cancel;
mod enqueue;
mod handle;
mod input;
mod notes;

pub(crate) use advance::Ended;
pub use handle::{FlowHandle, FlowProgress};

use std::time::Duration;

use windlass_core::flow::KEEP_LEAST;
use windlass_core::{
    Backend, Broker, Clock, Error, ErrorKind, Failure, Notebook, Record, Result, Retention, State, TaskId, Token,
};

/// The stores of workflows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flows<'a> {
    broker: &'a dyn Broker,
    backend: &'a dyn Backend,
    notebook: &'a dyn Notebook,
    clock: &'a dyn Clock,
}

impl<'a> Flows<'a> {
    /// # Errors
    /// `Unsupported` without a backend that has a notebook, with the cure.
    pub(crate) fn over(broker: &'a dyn Broker, backend: Option<&'a dyn Backend>, clock: &'a dyn Clock) -> Result<Self> {
        let unsupported = |text: String| Error::new(ErrorKind::Unsupported, "workflow", text);
        let Some(backend) = backend else {
            return Err(unsupported("workflows need a result backend: set backend.url".to_owned()));
        };
        let Some(notebook) = backend.notebook() else {
            let name = backend.capabilities().name;
            return Err(unsupported(format!(
                "the backend {name} has no notebook, which workflows need: use another one"
            )));
        };
        Ok(Self { broker, backend, notebook, clock })
    }

    /// A record that no claim stands behind; one that does takes its place.
    fn record(&self, id: &TaskId, token: Token, state: State, failure: Option<Failure>, keep: Duration) -> Record {
        let kept = Retention::For(keep.max(KEEP_LEAST));
        Record {
            id: id.clone(),
            token,
            state,
            attempt: 0,
            at: self.clock.now(),
            result: None,
            failure,
            status_ttl: kept,
            result_ttl: kept,
        }
    }
}
