//! The notebook: the contract of the core on top of notes, sets and signals.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use windlass_core::{Listener, Note, NoteChange, NoteKey, NotePage, Notebook, Place, Result, WriteOutcome};

use crate::backend::RedisBackend;

#[async_trait]
impl Notebook for RedisBackend {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        self.store().read(keys).await
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        self.store().write(changes).await
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        self.store().list(shelf, after, max).await
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        self.store().gather(places).await
    }

    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        self.store().gathered(set, range).await
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        self.topics().signal(topic, &text).await
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        Ok(Box::new(self.topics().listen(topic).await?))
    }
}
