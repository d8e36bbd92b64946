//! A notebook and names of its own, with the steps that the guarantees are written in.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use windlass_core::{
    Backend, Expected, Heard, Listener, Note, NoteChange, NoteKey, NotePage, Notebook, Place, Result, Retention,
    WriteOutcome,
};

use crate::conformance::PATIENCE;
use crate::fixture;

/// A time that is not over while a test lasts.
pub(super) const LONG: Duration = Duration::from_secs(3_600);
/// A time that is over while a test waits.
pub(super) const SHORT: Duration = Duration::from_millis(400);

#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) shelf: &'static str,
}

impl Scene {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, shelf: fixture::shelf() }
    }

    /// Two instances that look at the same shelf.
    pub(super) fn pair(one: Arc<dyn Backend>, other: Arc<dyn Backend>) -> (Self, Self) {
        let one = Self::new(one);
        let other = Self { backend: other, shelf: one.shelf };
        (one, other)
    }

    pub(super) fn book(&self) -> &dyn Notebook {
        self.backend.notebook().expect("the backend has a notebook: this suite is only for those that have")
    }

    pub(super) fn key(&self, name: impl Into<String>) -> NoteKey {
        NoteKey::new(self.shelf, name).expect("a valid name")
    }

    pub(super) async fn write(&self, changes: &[NoteChange]) -> Vec<WriteOutcome> {
        let outcomes = self.book().write(changes).await.expect("write answers");
        assert_eq!(outcomes.len(), changes.len(), "one answer for each change");
        outcomes
    }

    /// Makes one change and answers the version, or `None` for a conflict.
    pub(super) async fn change(&self, change: NoteChange) -> Option<u64> {
        match self.write(&[change]).await[0] {
            WriteOutcome::Written(version) => Some(version),
            WriteOutcome::Conflict => None,
        }
    }

    /// Writes over whatever is there, and answers the version.
    pub(super) async fn put(&self, name: &str, value: impl Into<Bytes>) -> u64 {
        let written = self.change(put(&self.key(name), Expected::Anything, value)).await;
        written.expect("whatever is there is what is expected")
    }

    pub(super) async fn read_all(&self, keys: &[NoteKey]) -> Vec<Option<Note>> {
        let notes = self.book().read(keys).await.expect("read answers");
        assert_eq!(notes.len(), keys.len(), "one answer for each key");
        notes
    }

    pub(super) async fn read(&self, name: &str) -> Option<Note> {
        self.read_all(&[self.key(name)]).await.remove(0)
    }

    /// One page of the shelf.
    pub(super) async fn page(&self, after: Option<&str>, max: usize) -> NotePage {
        let page = self.book().list(self.shelf, after, max).await.expect("list answers");
        assert!(page.notes.len() <= max, "{} notes on a page of {max}", page.notes.len());
        page
    }

    /// All notes of the shelf, page by page.
    pub(super) async fn list(&self, page_size: usize) -> Vec<(String, Note)> {
        let mut notes = Vec::new();
        let mut after = None;
        loop {
            let page = self.page(after.as_deref(), page_size).await;
            notes.extend(page.notes);
            match page.next {
                Some(next) => after = Some(next),
                None => return notes,
            }
        }
    }

    /// The names on the shelf, page by page.
    pub(super) async fn names(&self, page_size: usize) -> Vec<String> {
        self.list(page_size).await.into_iter().map(|(name, _)| name).collect()
    }

    pub(super) async fn gather(&self, places: &[Place]) -> Vec<u32> {
        let sizes = self.book().gather(places).await.expect("gather answers");
        assert_eq!(sizes.len(), places.len(), "one answer for each place");
        sizes
    }

    /// Fills one place of a set and answers how many are filled.
    pub(super) async fn fill(&self, set: &NoteKey, place: u32, value: impl Into<Bytes>) -> u32 {
        self.gather(&[at(set, place, value)]).await[0]
    }

    pub(super) async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Vec<Option<Bytes>> {
        let values = self.book().gathered(set, range.clone()).await.expect("gathered answers");
        assert_eq!(values.len(), range.len(), "one answer for each place");
        values
    }

    pub(super) async fn signal(&self, topic: &str, text: impl Into<Bytes>) {
        self.book().signal(topic, text.into()).await.expect("signal answers");
    }

    /// It hears this signal; from a store that wakes nobody, that it should look.
    pub(super) async fn is_told(&self, ear: &mut Ear, text: &str) {
        match self.backend.capabilities().push {
            true => assert_eq!(ear.signal().await, text),
            false => drop(ear.next().await.expect("the listener answers")),
        }
    }

    pub(super) async fn listen(&self, topic: &str) -> Ear {
        Ear(self.book().listen(topic).await.expect("listen answers"))
    }
}

/// A value for a note that is kept for long.
pub(super) fn put(key: &NoteKey, expected: Expected, value: impl Into<Bytes>) -> NoteChange {
    NoteChange { key: key.clone(), expected, value: Some(value.into()), keep: Retention::For(LONG) }
}

/// The end of a note.
pub(super) fn removal(key: &NoteKey, expected: Expected) -> NoteChange {
    NoteChange { key: key.clone(), expected, value: None, keep: Retention::For(LONG) }
}

/// A value for a place of a set that is kept for long.
pub(super) fn at(set: &NoteKey, place: u32, value: impl Into<Bytes>) -> Place {
    Place { set: set.clone(), place, value: value.into(), keep: LONG }
}

/// Somebody who listens. That signals may have been missed is no more than a hint to look; so where
/// nothing broke, it is passed over.
#[derive(Debug)]
pub(super) struct Ear(Box<dyn Listener>);

impl Ear {
    pub(super) async fn next(&mut self) -> Result<Heard> {
        timeout(PATIENCE, self.0.next()).await.expect("something is heard in time")
    }

    /// What is heard besides that something may have been missed: a signal, or the end.
    async fn beyond_hints(&mut self) -> Result<Bytes> {
        loop {
            match self.0.next().await? {
                Heard::Signal(text) => return Ok(text),
                // A listener that says so all the time must not keep this loop from ending.
                Heard::Missed => tokio::task::yield_now().await,
            }
        }
    }

    /// The end of the listening.
    pub(super) async fn end(&mut self) -> Result<Bytes> {
        timeout(PATIENCE, self.beyond_hints()).await.expect("the listening ends in time")
    }

    /// The next signal.
    pub(super) async fn signal(&mut self) -> Bytes {
        let heard = timeout(PATIENCE, self.beyond_hints()).await.expect("a signal is heard in time");
        heard.expect("the listener answers")
    }

    /// The next signal, if one comes within `span`; the call is dropped after that.
    pub(super) async fn signal_within(&mut self, span: Duration) -> Option<Bytes> {
        timeout(span, self.beyond_hints()).await.ok().map(|heard| heard.expect("the listener answers"))
    }
}
