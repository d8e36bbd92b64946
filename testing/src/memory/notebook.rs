use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;
use windlass_core::notebook::{PLACES, SIGNAL_BYTES, VALUE_BYTES};
use windlass_core::{
    Clock, Error, ErrorKind, Heard, Listener, Note, NoteChange, NoteKey, NotePage, Notebook, Place, Result,
    WriteOutcome,
};

use super::MemoryBackend;
use super::notes::Shelves;
use crate::TokioClock;

/// Signals that a listener may be behind.
const BEHIND: usize = 256;

/// The notes of a [`MemoryBackend`].
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    shelves: Shelves,
    /// Those that somebody listens to.
    topics: HashMap<String, broadcast::Sender<Bytes>>,
    closed: bool,
}

impl Notes {
    fn open(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed(operation));
        }
        state.shelves.sweep(TokioClock.now());
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no step panics while it holds the state")
    }

    /// Whether it holds nothing any more.
    pub(super) fn is_empty(&self) -> bool {
        let mut state = self.lock();
        state.shelves.sweep(TokioClock.now());
        state.shelves.is_empty()
    }

    /// How many listen to a topic.
    pub(super) fn listeners(&self, topic: &str) -> usize {
        self.lock().topics.get(topic).map_or(0, broadcast::Sender::receiver_count)
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Dropping the senders ends every listening.
        state.topics.clear();
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the backend was closed")
}

fn check_value(bytes: usize) -> Result<()> {
    if bytes <= VALUE_BYTES {
        return Ok(());
    }
    Err(Error::invalid("value", format_args!("{bytes} B"), format_args!("at most {VALUE_BYTES} B")))
}

/// Refuses places that no set has, up to the one after `last`.
fn check_place(field: &'static str, last: u32) -> Result<()> {
    if last < PLACES { Ok(()) } else { Err(Error::invalid(field, last, format_args!("below {PLACES}"))) }
}

fn check_signal(bytes: usize) -> Result<()> {
    if bytes <= SIGNAL_BYTES {
        return Ok(());
    }
    Err(Error::invalid("signal", format_args!("{bytes} B"), format_args!("at most {SIGNAL_BYTES} B")))
}

/// Topics are named as notes are.
fn check_topic(topic: &str) -> Result<()> {
    NoteKey::new("topic", topic).map(drop)
}

/// Somebody who listens; the last one to leave takes the topic away.
#[derive(Debug)]
struct Ear {
    /// `None` only while it is dropped.
    heard: Option<broadcast::Receiver<Bytes>>,
    topic: String,
    notes: Arc<Notes>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut state = self.notes.lock();
        self.heard = None;
        if state.topics.get(&self.topic).is_some_and(|topic| topic.receiver_count() == 0) {
            state.topics.remove(&self.topic);
        }
    }
}

#[async_trait]
impl Listener for Ear {
    async fn next(&mut self) -> Result<Heard> {
        let Some(heard) = &mut self.heard else { return Err(closed("listen")) };
        match heard.recv().await {
            Ok(text) => Ok(Heard::Signal(text)),
            Err(broadcast::error::RecvError::Lagged(_)) => Ok(Heard::Missed),
            Err(broadcast::error::RecvError::Closed) => Err(closed("listen")),
        }
    }
}

#[async_trait]
impl Notebook for MemoryBackend {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        let state = self.notes().open("read")?;
        let now = TokioClock.now();
        Ok(keys.iter().map(|key| state.shelves.read(key, now)).collect())
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        changes.iter().try_for_each(|change| check_value(change.value.as_ref().map_or(0, Bytes::len)))?;
        let mut state = self.notes().open("write")?;
        let now = TokioClock.now();
        Ok(changes.iter().map(|change| state.shelves.change(change, now)).collect())
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        Ok(self.notes().open("list")?.shelves.list(shelf, after, max.max(1), TokioClock.now()))
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        for place in places {
            check_value(place.value.len())?;
            check_place("place", place.place)?;
        }
        let mut state = self.notes().open("gather")?;
        let now = TokioClock.now();
        Ok(places.iter().map(|place| state.shelves.fill(place, now)).collect())
    }

    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        if !range.is_empty() {
            check_place("range", range.end - 1)?;
        }
        Ok(self.notes().open("gathered")?.shelves.gathered(set, range, TokioClock.now()))
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        check_topic(topic)?;
        check_signal(text.len())?;
        if let Some(topic) = self.notes().open("signal")?.topics.get(topic) {
            // An error means that nobody listens.
            let _ = topic.send(text);
        }
        Ok(())
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        check_topic(topic)?;
        let mut state = self.notes().open("listen")?;
        let sender = state.topics.entry(topic.to_owned()).or_insert_with(|| broadcast::channel(BEHIND).0);
        let heard = Some(sender.subscribe());
        Ok(Box::new(Ear { heard, topic: topic.to_owned(), notes: Arc::clone(self.notes()) }))
    }
}
