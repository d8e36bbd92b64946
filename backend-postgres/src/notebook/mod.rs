//! The notebook: the contract of the core on top of notes, sets and signals.

mod ears;
mod notes;
mod sets;
mod signals;
mod statements;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use windlass_core::notebook::{PLACES, VALUE_BYTES};
use windlass_core::{Error, Listener, Note, NoteChange, NoteKey, NotePage, Notebook, Place, Result, WriteOutcome};

pub(crate) use ears::Ears;
pub(crate) use signals::serve;
pub(crate) use statements::Statements;

use crate::backend::PostgresBackend;

/// Most items of one statement.
const ITEMS: usize = 500;
/// How often a statement is made again for what others have changed meanwhile.
const ATTEMPTS: u32 = 8;

#[async_trait]
impl Notebook for PostgresBackend {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        self.store.read_notes(keys).await
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        changes.iter().flat_map(|change| &change.value).try_for_each(check_value)?;
        self.store.change_notes(changes).await
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        self.store.list_notes(shelf, after, max).await
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        for place in places {
            check_value(&place.value)?;
            if place.place >= PLACES {
                return Err(Error::invalid("place", place.place, format_args!("below {PLACES}")));
            }
        }
        self.store.gather(places).await
    }

    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        if range.end > PLACES {
            return Err(Error::invalid("range", format_args!("{range:?}"), format_args!("up to {PLACES}")));
        }
        self.store.gathered(set, range).await
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        signals::check(topic, &text)?;
        self.store.signal(topic, &text).await
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        signals::check(topic, &[])?;
        self.listen_to(topic).await
    }
}

fn check_value(value: &Bytes) -> Result<()> {
    if value.len() <= VALUE_BYTES {
        return Ok(());
    }
    Err(Error::invalid("value", format_args!("{} B", value.len()), format_args!("at most {VALUE_BYTES} B")))
}
