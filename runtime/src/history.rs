//! The attempts of a task that went wrong, one after the other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_core::message::codec;
use windlass_core::{Backend, Failure, Place, Result, Retention, TaskId, Timestamp};

use crate::notes::{self, ATTEMPTS};

/// Places that are read in one call.
const PAGE: u32 = 100;

/// One attempt of a task that did not end well: it failed, took too long, or its worker was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// When that was known.
    pub at: Timestamp,
    /// Why; it says the number of the attempt too.
    pub failure: Failure,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.failure)
    }
}

/// The place of an attempt in the history of its task; `None` if nothing of the task is kept.
pub(crate) fn place(
    id: &TaskId,
    place: u32,
    at: Timestamp,
    failure: &Failure,
    kept: Retention,
) -> Result<Option<Place>> {
    let Some(keep) = notes::span(kept) else { return Ok(None) };
    let value = codec::encode("attempt", &Attempt { at, failure: failure.clone() })?;
    Ok(Some(Place { set: notes::key(ATTEMPTS, id)?, place, value, keep }))
}

/// The place to try instead of one that an earlier life of the task has filled: it was put back from the
/// dead letters, and counts anew. `filled` are the places that are filled, this one included.
pub(crate) fn further(place: &Place, filled: u32) -> Option<Place> {
    (filled > place.place.saturating_add(1)).then(|| Place { place: filled, ..place.clone() })
}

/// What is known of the attempts of a task, the first one first.
pub(crate) async fn read(backend: Option<&Arc<dyn Backend>>, id: &TaskId) -> Result<Vec<Attempt>> {
    let notebook = notes::notebook(backend, "history")?;
    let set = notes::key(ATTEMPTS, id)?;
    let mut attempts = Vec::new();
    let mut from = 0;
    loop {
        let page = notebook.gathered(&set, from..from + PAGE).await?;
        let filled: Vec<_> = page.into_iter().flatten().collect();
        if filled.is_empty() {
            return Ok(attempts);
        }
        for value in filled {
            attempts.push(codec::decode("attempt", &value)?);
        }
        from += PAGE;
    }
}
