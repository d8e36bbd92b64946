//! What a notebook in memory holds, and the steps that change it. Every step is O(log n).

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use windlass_core::limits::BATCH_ITEMS;
use windlass_core::{Expected, Note, NoteChange, NoteKey, NotePage, Place, Retention, Timestamp, WriteOutcome};

/// When something ends; the number tells equal times apart.
type End = (Timestamp, u64);

#[derive(Debug, Default)]
pub(super) struct Shelves {
    /// By shelf and name.
    notes: HashMap<&'static str, BTreeMap<String, Stored>>,
    sets: HashMap<NoteKey, Set>,
    /// What ends, and when: exactly what has an end, so that rewriting leaves nothing behind.
    ends: BTreeMap<End, What>,
    /// Versions of notes and numbers of ends are taken from one counter.
    counter: u64,
}

#[derive(Debug)]
struct Stored {
    note: Note,
    /// `None`: for ever.
    end: Option<End>,
}

#[derive(Debug)]
struct Set {
    filled: BTreeMap<u32, Bytes>,
    end: End,
}

#[derive(Debug)]
enum What {
    Note(NoteKey),
    Set(NoteKey),
}

impl Shelves {
    pub(super) fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.sets.is_empty()
    }

    /// Drops what has ended by now; so much at most that the step stays short.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        for _ in 0..BATCH_ITEMS {
            let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= now) else { return };
            match first.remove() {
                What::Note(key) => drop(self.remove(&key)),
                What::Set(key) => drop(self.sets.remove(&key)),
            }
        }
    }

    pub(super) fn read(&self, key: &NoteKey, now: Timestamp) -> Option<Note> {
        let stored = self.notes.get(key.shelf())?.get(key.name())?;
        stored.is_there(now).then(|| stored.note.clone())
    }

    pub(super) fn change(&mut self, change: &NoteChange, now: Timestamp) -> WriteOutcome {
        let stored = self.read(&change.key, now).map(|note| note.version);
        let is_expected = match change.expected {
            Expected::Anything => true,
            Expected::Absent => stored.is_none(),
            Expected::Version(version) => stored == Some(version),
        };
        if !is_expected {
            return WriteOutcome::Conflict;
        }
        if let Some(end) = self.remove(&change.key).and_then(|stored| stored.end) {
            self.ends.remove(&end);
        }
        let keep = match change.keep {
            Retention::None => return WriteOutcome::Written(0),
            Retention::For(span) => Some(span),
            Retention::Forever => None,
        };
        let Some(value) = change.value.clone() else { return WriteOutcome::Written(0) };
        let end = keep.map(|span| self.ends_after(span, now, What::Note(change.key.clone())));
        let version = self.next();
        let shelf = self.notes.entry(change.key.shelf()).or_default();
        shelf.insert(change.key.name().to_owned(), Stored { note: Note { version, value }, end });
        WriteOutcome::Written(version)
    }

    /// The notes of a shelf after the one with the name `after`.
    pub(super) fn list(&self, shelf: &str, after: Option<&str>, max: usize, now: Timestamp) -> NotePage {
        let Some(names) = self.notes.get(shelf) else { return NotePage::default() };
        let from = after.map_or(Unbounded, Excluded);
        let mut found = names.range::<str, _>((from, Unbounded)).filter(|(_, stored)| stored.is_there(now)).peekable();
        let notes: Vec<(String, Note)> =
            found.by_ref().take(max).map(|(name, stored)| (name.clone(), stored.note.clone())).collect();
        let next = notes.last().map(|(name, _)| name.clone()).filter(|_| found.peek().is_some());
        NotePage { notes, next }
    }

    /// Fills a place and answers how many are filled.
    pub(super) fn fill(&mut self, place: &Place, now: Timestamp) -> u32 {
        if self.sets.get(&place.set).is_some_and(|set| set.end.0 <= now)
            && let Some(over) = self.sets.remove(&place.set)
        {
            self.ends.remove(&over.end);
        }
        let before = self.sets.get(&place.set).map(|set| set.end);
        let end = match before.filter(|end| now.plus(place.keep) <= end.0) {
            Some(end) => end,
            None => {
                before.map(|end| self.ends.remove(&end));
                self.ends_after(place.keep, now, What::Set(place.set.clone()))
            }
        };
        let set = self.sets.entry(place.set.clone()).or_insert_with(|| Set { filled: BTreeMap::new(), end });
        set.end = end;
        set.filled.entry(place.place).or_insert_with(|| place.value.clone());
        u32::try_from(set.filled.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn gathered(&self, set: &NoteKey, range: Range<u32>, now: Timestamp) -> Vec<Option<Bytes>> {
        let set = self.sets.get(set).filter(|set| set.end.0 > now);
        range.map(|place| set.and_then(|set| set.filled.get(&place).cloned())).collect()
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn ends_after(&mut self, span: Duration, now: Timestamp, what: What) -> End {
        let end = (now.plus(span), self.next());
        self.ends.insert(end, what);
        end
    }

    /// Takes a note away; its end is left where it is.
    fn remove(&mut self, key: &NoteKey) -> Option<Stored> {
        let shelf = self.notes.get_mut(key.shelf())?;
        let removed = shelf.remove(key.name());
        if shelf.is_empty() {
            self.notes.remove(key.shelf());
        }
        removed
    }
}

impl Stored {
    fn is_there(&self, now: Timestamp) -> bool {
        self.end.is_none_or(|(until, _)| until > now)
    }
}
