//! Where the runtime keeps what it knows of a task beside its message and its record.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Backend, Error, ErrorKind, Expected, NoteChange, NoteKey, Notebook, Result, Retention, TaskId};

/// Requests to cancel tasks that run: the name is the id.
pub(crate) const CANCEL: &str = "cancel";
/// The progress of tasks: the name is the id.
pub(crate) const PROGRESS: &str = "progress";
/// The attempts of tasks that went wrong: the name of the set is the id.
pub(crate) const ATTEMPTS: &str = "attempts";

/// For ever, as a span of time: a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The key of a task on a shelf.
pub(crate) fn key(shelf: &'static str, id: &TaskId) -> Result<NoteKey> {
    NoteKey::new(shelf, id.to_string())
}

/// The notebook of a backend.
///
/// # Errors
/// `Unsupported` with the cure, if there is none.
pub(crate) fn notebook<'a>(backend: Option<&'a Arc<dyn Backend>>, feature: &'static str) -> Result<&'a dyn Notebook> {
    let Some(backend) = backend else {
        let text = format!("{feature} needs a store that keeps notes, and there is no backend: set backend.url");
        return Err(Error::new(ErrorKind::Unsupported, feature, text));
    };
    backend.notebook().ok_or_else(|| {
        let name = backend.capabilities().name;
        let text = format!("{feature} needs a store that keeps notes, which {name} does not: set another backend.url");
        Error::new(ErrorKind::Unsupported, feature, text)
    })
}

/// Removes a note, whatever is in it.
pub(crate) fn removal(key: NoteKey) -> NoteChange {
    NoteChange { key, expected: Expected::Anything, value: None, keep: Retention::None }
}

/// A retention as a span of time; `None` if nothing is kept.
pub(crate) fn span(kept: Retention) -> Option<Duration> {
    match kept {
        Retention::None => None,
        Retention::For(span) => Some(span),
        Retention::Forever => Some(FOR_EVER),
    }
}
