//! A notebook with one defect.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use windlass_core::notebook::{PLACES, SIGNAL_BYTES, VALUE_BYTES};
use windlass_core::{
    Backend, BackendCapabilities, Error, ErrorKind, Expected, Heard, Listener, Note, NoteChange, NoteKey, NotePage,
    Notebook, Place, Record, Result, Retention, SaveOutcome, TaskId, WriteOutcome,
};
use windlass_testing::MemoryBackend;

use super::notebook::Defect::{self, *};
use super::{cut, lossy};

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(300);

/// A backend whose notebook is broken.
#[derive(Debug)]
pub(super) struct Broken {
    store: MemoryBackend,
    defect: Defect,
    connection: watch::Sender<Connection>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Connection {
    closed: bool,
    disturbed: bool,
}

#[derive(Debug, Default)]
struct State {
    /// How many places of a set were asked for.
    calls: HashMap<NoteKey, u32>,
    latest: HashMap<(NoteKey, u32), Bytes>,
    ends: HashMap<NoteKey, Instant>,
    /// By topic: how many have listened, and what was signalled last.
    listened: HashMap<String, usize>,
    signals: HashMap<String, Bytes>,
    /// Topics that a listener has left.
    left: Vec<String>,
}

impl Broken {
    pub(super) fn new(defect: Defect) -> Arc<Self> {
        Arc::new(Self::over(MemoryBackend::new(), defect))
    }

    pub(super) fn pair(defect: Defect) -> (Arc<Self>, Arc<Self>) {
        let store = MemoryBackend::new();
        let other = if defect == KeepsToItself { MemoryBackend::new() } else { store.clone() };
        (Arc::new(Self::over(store, defect)), Arc::new(Self::over(other, defect)))
    }

    fn over(store: MemoryBackend, defect: Defect) -> Self {
        Self { store, defect, connection: watch::Sender::default(), state: Arc::default() }
    }

    /// The connections break; the store is in the same process, so nothing need happen.
    pub(super) fn disturb(&self) {
        self.connection.send_modify(|connection| connection.disturbed = true);
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn open(&self, operation: &'static str, items: usize) -> Result<()> {
        let Connection { closed, disturbed } = *self.connection.borrow();
        if closed {
            return Err(Error::new(ErrorKind::Closed, operation, "closed"));
        }
        if disturbed && self.has(NeverReconnects) {
            return Err(Error::new(ErrorKind::Unavailable, operation, "no connection"));
        }
        if items == 0 && self.has(ErrsOnNothing) {
            return Err(Error::new(ErrorKind::Invalid, operation, "nothing to do"));
        }
        Ok(())
    }

    fn key(&self, key: &NoteKey) -> NoteKey {
        let renamed = match self.defect {
            OneShelf => NoteKey::new("all", key.name()),
            TamesNames => NoteKey::new(key.shelf(), key.name().to_lowercase()),
            _ => Ok(key.clone()),
        };
        renamed.unwrap()
    }

    fn value(&self, value: &Bytes) -> Bytes {
        match self.defect {
            CutsValues => cut(value),
            ReencodesValues => lossy(value),
            NoLimits => value.slice(..value.len().min(VALUE_BYTES)),
            _ => value.clone(),
        }
    }

    fn topic(&self, topic: &str) -> String {
        match self.defect {
            OneTopic => "all".to_owned(),
            NoLimits => format!("{}-", topic.chars().filter(char::is_ascii_alphanumeric).take(99).collect::<String>()),
            _ => topic.to_owned(),
        }
    }

    async fn read_one(&self, key: &NoteKey) -> Result<Option<Note>> {
        Ok(self.store.read(std::slice::from_ref(key)).await?.remove(0))
    }

    /// The change as it is made, or what is answered instead.
    async fn change(&self, index: usize, change: &NoteChange) -> Result<Result<NoteChange, WriteOutcome>> {
        let value = change.value.as_ref().map(|value| self.value(value));
        let mut change = NoteChange { key: self.key(&change.key), value, ..change.clone() };
        match self.defect {
            LosesOneOfABatch if index == 7 => return Ok(Err(WriteOutcome::Written(1))),
            RemovesNothing if change.value.is_none() => return Ok(Err(WriteOutcome::Written(0))),
            ConflictsWithEveryVersion if matches!(change.expected, Expected::Version(_)) => {
                return Ok(Err(WriteOutcome::Conflict));
            }
            SkipsEqualValues => {
                let before =
                    self.read_one(&change.key).await?.filter(|note| Some(&note.value) == change.value.as_ref());
                return Ok(before.map_or(Ok(change), |note| Err(WriteOutcome::Written(note.version))));
            }
            EmptyIsNone => change.value = change.value.filter(|value| !value.is_empty()),
            ExpectsNothing => {
                // Somebody else's turn, as with a store on the other side of a wire.
                tokio::task::yield_now().await;
                change.expected = Expected::Anything;
            }
            ForeverIsNever if change.keep == Retention::Forever => change.keep = Retention::For(SHORT),
            KeepsForEver => change.keep = Retention::Forever,
            _ => {}
        }
        Ok(Ok(change))
    }

    /// The places as they are filled.
    fn places(&self, places: &[Place]) -> Vec<Place> {
        let place = |(index, place): (usize, &Place)| {
            let mut place = Place { set: self.key(&place.set), value: self.value(&place.value), ..place.clone() };
            match self.defect {
                LosesOneOfABatch if index == 7 => place.place = 0,
                KeepsForEver => place.keep = LONG,
                NoLimits => place.place %= PLACES,
                _ => {}
            }
            place
        };
        let filled = |place: &Place| !(self.has(EmptyIsNone) && place.value.is_empty());
        places.iter().enumerate().map(place).filter(filled).collect()
    }

    fn note_down(&self, places: &[Place]) {
        let mut state = self.state();
        for place in places {
            *state.calls.entry(place.set.clone()).or_default() += 1;
            state.latest.insert((place.set.clone(), place.place), place.value.clone());
            state.ends.insert(place.set.clone(), Instant::now() + place.keep);
        }
    }

    fn heard(&self, topic: &str) -> Defect {
        let mut state = self.state();
        let before = state.listened.entry(topic.to_owned()).or_default();
        *before += 1;
        let favoured = *before == 1;
        let listeners: usize = state.listened.values().sum();
        match self.defect {
            // It listens to nothing.
            TellsOne if !favoured => TellsOne,
            FewListeners if listeners > 10 => TellsOne,
            TellsOne | FewListeners => Sound,
            defect => defect,
        }
    }
}

#[async_trait]
impl Backend for Broken {
    fn capabilities(&self) -> BackendCapabilities {
        self.store.capabilities()
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.store.save(records).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.store.load(ids).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.store.wait(id, timeout).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.store.forget(ids).await
    }

    fn notebook(&self) -> Option<&dyn Notebook> {
        Some(self)
    }

    async fn close(&self) {
        match self.defect {
            ClosesNothing => return,
            ClosesTheStore => self.store.close().await,
            _ => {}
        }
        self.connection.send_modify(|connection| connection.closed = true);
    }
}

#[async_trait]
impl Notebook for Broken {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        self.open("read", keys.len())?;
        let keys: Vec<NoteKey> = keys.iter().map(|key| self.key(key)).collect();
        let mut notes = self.store.read(&keys).await?;
        if self.has(AnswersInAnyOrder) {
            notes.rotate_left(1);
        }
        Ok(notes)
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        self.open("write", changes.len())?;
        let mut made = Vec::new();
        let mut instead = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let is_last = !changes[index + 1..].iter().any(|later| later.key == change.key);
            match self.change(index, change).await? {
                Ok(_) if self.has(LastOfACallWins) && !is_last => instead.push((index, WriteOutcome::Written(1))),
                Ok(change) => made.push(change),
                Err(outcome) => instead.push((index, outcome)),
            }
        }
        let mut outcomes = self.store.write(&made).await?;
        instead.into_iter().for_each(|(index, outcome)| outcomes.insert(index, outcome));
        if self.has(LiesAboutVersions) {
            let next = |outcome: &mut WriteOutcome| match outcome {
                WriteOutcome::Written(version) => *version += 1,
                WriteOutcome::Conflict => {}
            };
            outcomes.iter_mut().for_each(next);
        }
        Ok(outcomes)
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        self.open("list", 1)?;
        let shelf = if self.has(OneShelf) { "all" } else { shelf };
        if self.has(PagesByNumber) {
            let skipped: usize = after.map_or(0, |after| after.parse().unwrap());
            let mut notes = self.store.list(shelf, None, 1_000).await?.notes;
            let next = Some((skipped + max).to_string()).filter(|_| notes.len() > skipped + max);
            notes = notes.into_iter().skip(skipped).take(max).collect();
            return Ok(NotePage { notes, next });
        }
        let mut page = self.store.list(shelf, after, max).await?;
        match self.defect {
            LeavesNotesOut if page.next.is_some() => drop(page.notes.pop()),
            SortsAsText => page.notes.sort_by_key(|(name, _)| name.to_lowercase()),
            _ => {}
        }
        self.open("list", page.notes.len())?;
        Ok(page)
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        self.open("gather", places.len())?;
        let filled = self.places(places);
        self.note_down(&filled);
        let mut sizes = self.store.gather(&filled).await?;
        match self.defect {
            CountsAfterwards => {
                tokio::task::yield_now().await;
                sizes = self.store.gather(&filled).await?;
            }
            CountsCalls => {
                let state = self.state();
                sizes = filled.iter().map(|place| state.calls[&place.set]).collect();
            }
            SetsAreNotes => {
                for Place { set: key, value, .. } in filled {
                    let (expected, keep) = (Expected::Anything, Retention::Forever);
                    self.store.write(&[NoteChange { key, expected, value: Some(value), keep }]).await?;
                }
            }
            _ => {}
        }
        sizes.resize(places.len(), 0);
        Ok(sizes)
    }

    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        self.open("gathered", range.len())?;
        let (set, end) = (self.key(set), if self.has(NoLimits) { range.end.min(PLACES) } else { range.end });
        let mut values = self.store.gathered(&set, range.start.min(end)..end).await?;
        let state = self.state();
        match self.defect {
            LastValueStays => {
                values = range.map(|place| state.latest.get(&(set.clone(), place)).cloned()).collect();
            }
            NoHoles => values.sort_by_key(Option::is_none),
            ShortensSets if state.ends.get(&set).is_some_and(|end| *end <= Instant::now()) => values.fill(None),
            _ => {}
        }
        Ok(values)
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        self.open("signal", 1)?;
        let (topic, mut text) = (self.topic(topic), self.value(&text));
        if self.has(NoLimits) {
            text.truncate(SIGNAL_BYTES);
        }
        self.state().signals.insert(topic.clone(), text.clone());
        self.store.signal(&topic, text).await
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        self.open("listen", 1)?;
        let topic = self.topic(topic);
        let past = self.state().signals.get(&topic).cloned().filter(|_| self.has(KeepsSignals));
        let defect = self.heard(&topic);
        let (inner, connection) = (self.store.listen(&topic).await?, self.connection.subscribe());
        Ok(Box::new(Ear { inner, topic, past, defect, connection, state: Arc::clone(&self.state) }))
    }
}

#[derive(Debug)]
struct Ear {
    inner: Box<dyn Listener>,
    topic: String,
    past: Option<Bytes>,
    defect: Defect,
    connection: watch::Receiver<Connection>,
    state: Arc<Mutex<State>>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.state.lock().unwrap().left.push(self.topic.clone());
    }
}

#[async_trait]
impl Listener for Ear {
    async fn next(&mut self) -> Result<Heard> {
        if let Some(past) = self.past.take() {
            return Ok(Heard::Signal(past));
        }
        let Self { inner, connection, .. } = self;
        let heard = tokio::select! {
            heard = inner.next() => heard,
            _ = connection.wait_for(|connection| connection.closed) => {
                return Err(Error::new(ErrorKind::Closed, "listen", "closed"));
            }
        };
        let is_left = self.state.lock().unwrap().left.contains(&self.topic);
        match self.defect {
            // It keeps only what came last.
            SkipsSignals => {
                let mut last = heard?;
                while let Ok(later) = timeout(Duration::ZERO, self.inner.next()).await {
                    last = later?;
                }
                Ok(last)
            }
            LosesSignalsOnDrop => {
                sleep(Duration::from_millis(1)).await;
                heard
            }
            TellsOne => std::future::pending().await,
            DroppedListenerDeafens if is_left => std::future::pending().await,
            DeafAfterReconnect if self.connection.borrow().disturbed => std::future::pending().await,
            _ => heard,
        }
    }
}
