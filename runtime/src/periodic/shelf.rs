use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windlass_core::periodic::Entry;
use windlass_core::{
    Backend, Error, ErrorKind, Expected, Listener, Note, NoteChange, NoteKey, NotePage, Notebook, Result, Retention,
    WriteOutcome,
};

use crate::client::Client;
use crate::pause::{in_time, within};

const SHELF: &str = "periodic";
/// A note that changes with every change that people make, so that one look tells whether there was one.
const MARK: (&str, &str) = ("periodicmark", "changes");
/// On it, the name of an entry that was changed is told.
const TOPIC: &str = "periodic";
/// To hear of changes is not worth a longer wait: they are looked for too.
const LISTEN: Duration = Duration::from_secs(5);
/// How often a change is tried again because another one came first.
const ATTEMPTS: usize = 50;

/// The notes of the entries.
#[derive(Debug, Clone)]
pub(super) struct Shelf(Arc<dyn Backend>);

/// An entry as it is stored, or why it cannot be read.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) entry: Result<Entry>,
}

impl Shelf {
    /// # Errors
    /// `Unsupported` without a backend that keeps notes.
    pub(super) fn of(client: &Client) -> Result<Self> {
        match client.backend().filter(|backend| backend.notebook().is_some()) {
            Some(backend) => Ok(Self(Arc::clone(backend))),
            None => Err(unsupported()),
        }
    }

    fn notes(&self) -> Result<&dyn Notebook> {
        self.0.notebook().ok_or_else(unsupported)
    }

    pub(super) async fn read(&self, names: &[String]) -> Result<Vec<Option<Stored>>> {
        let keys: Result<Vec<NoteKey>> = names.iter().map(|name| NoteKey::new(SHELF, name)).collect();
        let notes = in_time("periodic", self.notes()?.read(&keys?)).await?;
        Ok(names.iter().zip(notes).map(|(name, note)| note.map(|note| stored(name, &note))).collect())
    }

    /// Entries in the order of their names, and where the next page begins.
    pub(super) async fn list(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<(Vec<(String, Stored)>, Option<String>)> {
        let NotePage { notes, next } = in_time("periodic", self.notes()?.list(SHELF, after, max)).await?;
        Ok((notes.into_iter().map(|(name, note)| (name.clone(), stored(&name, &note))).collect(), next))
    }

    /// Changes entries that have these versions, as schedulers do.
    pub(super) async fn write(&self, changes: &[(&str, u64, &Entry)]) -> Result<Vec<WriteOutcome>> {
        let change = |(name, version, entry): &(&str, u64, &Entry)| {
            change(name, Expected::Version(*version), Some(entry.encode()?))
        };
        let changes: Result<Vec<NoteChange>> = changes.iter().map(change).collect();
        in_time("periodic", self.notes()?.write(&changes?)).await
    }

    /// Changes an entry as people do: schedulers are told. What is decided is the new entry, or `None` to
    /// leave it as it is.
    pub(super) async fn edit<T>(
        &self,
        name: &str,
        decide: impl Fn(Option<Entry>) -> Result<(Option<Entry>, T)>,
    ) -> Result<T> {
        let names = [name.to_owned()];
        for _ in 0..ATTEMPTS {
            let found = self.read(&names).await?.pop().flatten();
            let expected = found.as_ref().map_or(Expected::Absent, |found| Expected::Version(found.version));
            let (entry, answer) = decide(found.map(|found| found.entry).transpose()?)?;
            let Some(entry) = entry else { return Ok(answer) };
            if self.put(name, expected, Some(entry.encode()?)).await? {
                return Ok(answer);
            }
        }
        let text = format!("others have changed it each of {ATTEMPTS} times");
        Err(Error::new(ErrorKind::Unavailable, "periodic", text).with("entry", name))
    }

    /// Removes an entry; answers whether there was one.
    pub(super) async fn remove(&self, name: &str) -> Result<bool> {
        let was_there = self.read(&[name.to_owned()]).await?.pop().flatten().is_some();
        self.put(name, Expected::Anything, None).await?;
        Ok(was_there)
    }

    async fn put(&self, name: &str, expected: Expected, value: Option<Bytes>) -> Result<bool> {
        let mark = NoteChange {
            key: NoteKey::new(MARK.0, MARK.1)?,
            expected: Expected::Anything,
            value: Some(Bytes::from_static(b"changed")),
            keep: Retention::Forever,
        };
        let changes = [change(name, expected, value)?, mark];
        let outcomes = in_time("periodic", self.notes()?.write(&changes)).await?;
        if !matches!(outcomes.first(), Some(WriteOutcome::Written(_))) {
            return Ok(false);
        }
        // Who does not hear of it finds the mark.
        if let Err(error) =
            in_time("periodic", self.notes()?.signal(TOPIC, Bytes::copy_from_slice(name.as_bytes()))).await
        {
            tracing::debug!(target: "windlass::periodic", entry = name, %error, "schedulers were not told; they look by themselves");
        }
        Ok(true)
    }

    /// Changes with every change that people make; `None` before the first.
    pub(super) async fn mark(&self) -> Result<Option<u64>> {
        let key = [NoteKey::new(MARK.0, MARK.1)?];
        let note = in_time("periodic", self.notes()?.read(&key)).await?.pop().flatten();
        Ok(note.map(|note| note.version))
    }

    pub(super) async fn listen(&self) -> Result<Box<dyn Listener>> {
        within(LISTEN, "periodic", self.notes()?.listen(TOPIC)).await
    }
}

fn stored(name: &str, note: &Note) -> Stored {
    Stored { version: note.version, entry: Entry::decode(name, &note.value) }
}

fn change(name: &str, expected: Expected, value: Option<Bytes>) -> Result<NoteChange> {
    Ok(NoteChange { key: NoteKey::new(SHELF, name)?, expected, value, keep: Retention::Forever })
}

fn unsupported() -> Error {
    let text = "periodic tasks need a backend, which keeps their entries: set backend.url";
    Error::new(ErrorKind::Unsupported, "periodic", text)
}
