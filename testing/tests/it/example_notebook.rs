//! The notebook that `docs/adapters.md` walks through: three tables beside those of a backend.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use windlass_core::notebook::{PLACES, SIGNAL_BYTES, VALUE_BYTES};
use windlass_core::{
    Backend, BackendCapabilities, Clock, Error, ErrorKind, Expected, Heard, Listener, Note, NoteChange, NoteKey,
    NotePage, Notebook, Place, Record, Result, Retention, SaveOutcome, TaskId, Timestamp, WriteOutcome,
};
use windlass_testing::{MemoryBackend, TokioClock};

/// The store: all instances look at one. Each lock is one transaction.
#[derive(Debug, Default)]
struct Desk {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    notes: BTreeMap<NoteKey, (Note, Option<Timestamp>)>,
    sets: HashMap<NoteKey, Set>,
    topics: HashMap<String, broadcast::Sender<Bytes>>,
    versions: u64,
}

#[derive(Debug)]
struct Set {
    places: BTreeMap<u32, Bytes>,
    until: Timestamp,
}

impl Desk {
    /// The tables as they are at this moment: what has ended is gone.
    fn tables(&self) -> (MutexGuard<'_, Tables>, Timestamp) {
        let (mut tables, now) = (self.tables.lock().unwrap(), TokioClock.now());
        tables.notes.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        tables.sets.retain(|_, set| set.until > now);
        (tables, now)
    }
}

/// One connection to the desk. The records are kept by a backend that is there already.
#[derive(Debug)]
struct DeskBackend {
    records: MemoryBackend,
    desk: Arc<Desk>,
    closed: watch::Sender<bool>,
}

impl DeskBackend {
    fn connect(desk: &Arc<Desk>) -> Arc<Self> {
        let (records, closed) = (MemoryBackend::new(), watch::Sender::default());
        Arc::new(Self { records, desk: Arc::clone(desk), closed })
    }

    fn open(&self, operation: &'static str) -> Result<(MutexGuard<'_, Tables>, Timestamp)> {
        if *self.closed.borrow() { Err(closed(operation)) } else { Ok(self.desk.tables()) }
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the backend was closed")
}

#[async_trait]
impl Backend for DeskBackend {
    fn capabilities(&self) -> BackendCapabilities {
        BackendCapabilities::all("desk")
    }

    fn notebook(&self) -> Option<&dyn Notebook> {
        Some(self)
    }

    async fn close(&self) {
        self.closed.send_replace(true);
        self.records.close().await;
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.records.save(records).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.records.load(ids).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.records.wait(id, timeout).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.records.forget(ids).await
    }
}

fn check(field: &'static str, value: usize, limit: usize) -> Result<()> {
    if value <= limit { Ok(()) } else { Err(Error::invalid(field, value, format_args!("at most {limit}"))) }
}

impl Tables {
    fn change(&mut self, change: &NoteChange, now: Timestamp) -> WriteOutcome {
        let version = self.notes.get(&change.key).map(|(note, _)| note.version);
        let is_expected = match change.expected {
            Expected::Anything => true,
            Expected::Absent => version.is_none(),
            Expected::Version(expected) => version == Some(expected),
        };
        if !is_expected {
            return WriteOutcome::Conflict;
        }
        let until = match change.keep {
            Retention::None => Some(now),
            Retention::For(span) => Some(now.plus(span)),
            Retention::Forever => None,
        };
        let Some(value) = change.value.clone().filter(|_| change.keep != Retention::None) else {
            self.notes.remove(&change.key);
            return WriteOutcome::Written(0);
        };
        self.versions += 1;
        self.notes.insert(change.key.clone(), (Note { version: self.versions, value }, until));
        WriteOutcome::Written(self.versions)
    }

    fn fill(&mut self, place: &Place, now: Timestamp) -> u32 {
        let set = self.sets.entry(place.set.clone()).or_insert(Set { places: BTreeMap::new(), until: now });
        set.until = set.until.max(now.plus(place.keep));
        set.places.entry(place.place).or_insert_with(|| place.value.clone());
        u32::try_from(set.places.len()).unwrap_or(PLACES)
    }
}

#[async_trait]
impl Notebook for DeskBackend {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        let (tables, _) = self.open("read")?;
        Ok(keys.iter().map(|key| tables.notes.get(key).map(|(note, _)| note.clone())).collect())
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        let sizes = changes.iter().map(|change| change.value.as_ref().map_or(0, Bytes::len));
        sizes.into_iter().try_for_each(|bytes| check("value", bytes, VALUE_BYTES))?;
        let (mut tables, now) = self.open("write")?;
        Ok(changes.iter().map(|change| tables.change(change, now)).collect())
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        let (tables, _) = self.open("list")?;
        let is_next = |key: &NoteKey| key.shelf() == shelf && after.is_none_or(|after| key.name() > after);
        let mut found = tables.notes.iter().filter(|(key, _)| is_next(key)).peekable();
        let rows = found.by_ref().take(max);
        let notes: Vec<(String, Note)> = rows.map(|(key, (note, _))| (key.name().to_owned(), note.clone())).collect();
        let next = notes.last().map(|(name, _)| name.clone()).filter(|_| found.peek().is_some());
        Ok(NotePage { notes, next })
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        for place in places {
            check("value", place.value.len(), VALUE_BYTES)?;
            check("place", place.place as usize + 1, PLACES as usize)?;
        }
        let (mut tables, now) = self.open("gather")?;
        Ok(places.iter().map(|place| tables.fill(place, now)).collect())
    }

    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        check("range", range.end as usize, PLACES as usize)?;
        let (tables, _) = self.open("gathered")?;
        let set = tables.sets.get(set);
        Ok(range.map(|place| set.and_then(|set| set.places.get(&place).cloned())).collect())
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        NoteKey::new("topic", topic)?;
        check("signal", text.len(), SIGNAL_BYTES)?;
        if let Some(topic) = self.open("signal")?.0.topics.get(topic) {
            // An error means that nobody listens.
            let _ = topic.send(text);
        }
        Ok(())
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        NoteKey::new("topic", topic)?;
        let (mut tables, _) = self.open("listen")?;
        let topic = tables.topics.entry(topic.to_owned()).or_insert_with(|| broadcast::channel(256).0);
        Ok(Box::new(DeskListener { heard: topic.subscribe(), closed: self.closed.subscribe() }))
    }
}

#[derive(Debug)]
struct DeskListener {
    heard: broadcast::Receiver<Bytes>,
    closed: watch::Receiver<bool>,
}

#[async_trait]
impl Listener for DeskListener {
    async fn next(&mut self) -> Result<Heard> {
        tokio::select! {
            heard = self.heard.recv() => Ok(heard.map_or(Heard::Missed, Heard::Signal)),
            _ = self.closed.wait_for(|closed| *closed) => Err(closed("listen")),
        }
    }
}

mod conformance {
    use super::{Arc, Desk, DeskBackend};

    async fn pair() -> (Arc<DeskBackend>, Arc<DeskBackend>) {
        let desk = Arc::default();
        (DeskBackend::connect(&desk), DeskBackend::connect(&desk))
    }

    windlass_testing::notebook_conformance!(async { DeskBackend::connect(&Arc::<Desk>::default()) }, pair = pair());
}
