use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use windlass_core::{
    Error, ErrorKind, Heard, Listener, Note, NoteChange, NoteKey, NotePage, Notebook, Place, Result, WriteOutcome,
};

use super::backend::{BackendCall, FaultyBackend};

impl FaultyBackend {
    fn book(&self) -> Result<&dyn Notebook> {
        let missing = || Error::new(ErrorKind::Unsupported, "notebook", "the backend has none");
        self.inner.notebook().ok_or_else(missing)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Notebook for FaultyBackend {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        self.faults.around(BackendCall::Read, self.book()?.read(keys)).await
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        self.faults.around(BackendCall::Write, self.book()?.write(changes)).await
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        self.faults.around(BackendCall::List, self.book()?.list(shelf, after, max)).await
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        self.faults.around(BackendCall::Gather, self.book()?.gather(places)).await
    }

    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        self.faults.around(BackendCall::Gathered, self.book()?.gathered(set, range)).await
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        self.faults.around(BackendCall::Signal, self.book()?.signal(topic, text)).await
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        let inner = self.faults.around(BackendCall::Listen, self.book()?.listen(topic)).await?;
        Ok(Box::new(FaultyListener { inner, outages: self.faults.outages(), missed: false }))
    }
}

#[derive(Debug)]
struct FaultyListener {
    inner: Box<dyn Listener>,
    outages: watch::Receiver<bool>,
    /// There was an outage that the caller was not told of yet.
    missed: bool,
}

#[async_trait]
impl Listener for FaultyListener {
    async fn next(&mut self) -> Result<Heard> {
        self.missed |= self.outages.has_changed().unwrap_or(false);
        if !self.missed {
            tokio::select! {
                heard = self.inner.next() => return heard,
                Ok(()) = self.outages.changed() => self.missed = true,
            }
        }
        // An error means that nobody can begin or end an outage any more.
        let _ = self.outages.wait_for(|outage| !outage).await;
        self.missed = false;
        Ok(Heard::Missed)
    }
}
