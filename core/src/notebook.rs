//! The small shared things that workers and clients agree on beside tasks and their records.
//!
//! Workflows, periodic tasks, paused queues, requests to cancel, progress and the history of attempts
//! all need the same few things of a store: a value under a name that changes by compare-and-set, a
//! set of numbered places that fill up, and a word to everyone who listens. An adapter that has these
//! three has all of those features.

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Error, Result, Retention, limits};

/// Largest value of a note or of a place: 16 MiB, as a payload.
pub const VALUE_BYTES: usize = limits::PAYLOAD_BYTES_HARD;
/// Largest text of a signal, in bytes: what every store can send to its listeners.
pub const SIGNAL_BYTES: usize = 4 * 1024;
/// Most places of a set.
pub const PLACES: u32 = 1_000_000;

/// The name of a note or of a set: a shelf for each use, and a name on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoteKey {
    shelf: &'static str,
    name: String,
}

impl NoteKey {
    /// The key of `name` on `shelf`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the name is not 1 to 255 bytes of `A-Z a-z 0-9 . _ - :`.
    pub fn new(shelf: &'static str, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
        if name.is_empty() || name.len() > 255 || !name.bytes().all(allowed) {
            return Err(Error::invalid("name", format_args!("{name:?}"), "1 to 255 bytes of A-Z a-z 0-9 . _ - :"));
        }
        Ok(Self { shelf, name })
    }

    /// The shelf: lower-case letters.
    pub fn shelf(&self) -> &'static str {
        self.shelf
    }

    /// The name on the shelf.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A value and how often it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Greater after each change; a note that was removed and written anew begins at a greater one too,
    /// or at 1.
    pub version: u64,
    /// The value.
    pub value: Bytes,
}

/// What must be there so that a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Anything,
    /// Nothing is there.
    Absent,
    /// A note of exactly this version is there.
    Version(u64),
}

/// A change of one note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteChange {
    /// Which note.
    pub key: NoteKey,
    /// What must be there.
    pub expected: Expected,
    /// The new value; `None` removes the note.
    pub value: Option<Bytes>,
    /// How long it is kept from now on; `Retention::None` removes it.
    pub keep: Retention,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It was made; the note has this version now (0 if it is removed).
    Written(u64),
    /// Something else was there than was expected; nothing was changed.
    Conflict,
}

/// A value for one place of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which set.
    pub set: NoteKey,
    /// Which place of it, from 0 to [`PLACES`].
    pub place: u32,
    /// The value.
    pub value: Bytes,
    /// How long the whole set is kept from now on, at least: a shorter time than before changes nothing.
    pub keep: Duration,
}

/// Notes in the order of their names, and where the next page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotePage {
    /// The name on the shelf, and the note.
    pub notes: Vec<(String, Note)>,
    /// Pass it to get the next page; `None` at the end.
    pub next: Option<String>,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A signal.
    Signal(Bytes),
    /// Signals may have been missed (the connection was away, or there were too many): look at what
    /// they were about.
    Missed,
}

/// Hears what is signalled on one topic, from when [`Notebook::listen`] has answered until it is dropped.
#[async_trait]
pub trait Listener: Debug + Send {
    /// The next signal, in the order of sending (of one sender).
    ///
    /// # Errors
    /// `Closed` after the notebook was closed. An unreachable store is waited for, and then answered
    /// with [`Heard::Missed`].
    ///
    /// # Cancel safety
    /// May be dropped at any time; no signal is lost by that.
    async fn next(&mut self) -> Result<Heard>;
}

/// Small shared values of a store.
///
/// # Contract
/// Every adapter passes `windlass_testing::conformance::notebook`. In short:
///
/// * **Compare and set.** A change is made only over what it expects, in one server-side step: of two
///   writers who expect the same version, one is told [`WriteOutcome::Conflict`].
/// * **A set knows its size.** [`Notebook::gather`] fills places, of which the first value stays; it
///   answers how many are filled, in the same server-side step, so that exactly the call that fills
///   the last place (and repetitions of it, and calls after it) learns that it is full.
/// * **A signal is a hint.** It reaches everyone who listens as long as the connections last; what
///   must not be lost is in a note.
/// * **Everything ends**: notes by their retention, sets by theirs. No step costs more because there
///   are many notes, or because a set is large.
///
/// # Cancel safety
/// Dropping `write`, `gather` and `signal` may leave them applied or not; the others change nothing.
#[async_trait]
pub trait Notebook: Debug + Send + Sync + 'static {
    /// Reads notes; the answers are in the order of `keys`, `None` for what is not there.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached.
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>>;

    /// Changes notes, each for itself; the answers are in the order of `changes`.
    ///
    /// # Errors
    /// `Unavailable` if nothing was applied, `Unknown` if that cannot be told, `Rejected` if the store
    /// refused.
    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>>;

    /// Lists the notes of a shelf in the order of their names (by bytes), at most `max`; `after` is
    /// [`NotePage::next`] of the page before.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached.
    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage>;

    /// Fills places of sets; answers for each, in the order of `places`, how many places of its set are
    /// filled now. The first value of a place stays.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; the call may be repeated, it changes nothing twice.
    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>>;

    /// The values of a range of places of a set; `None` for those that are not filled.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached.
    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>>;

    /// Tells everyone who listens to `topic` (a name as in a [`NoteKey`]); at most [`SIGNAL_BYTES`].
    ///
    /// # Errors
    /// `Invalid` for a text that is too long, `Unavailable` if the store cannot be reached.
    async fn signal(&self, topic: &str, text: Bytes) -> Result<()>;

    /// Listens to a topic; when this has answered, every later signal is heard.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached.
    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>>;
}
