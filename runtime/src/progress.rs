//! How far a task is, as its handle follows it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use windlass_core::message::codec;
use windlass_core::{Backend, Error, ErrorKind, Listener, NoteKey, Result, TaskId, Token};

use crate::handle::TaskHandle;
use crate::notes::{self, PROGRESS};

/// How long a value may be unheard before it is looked for.
const LOOK: Duration = Duration::from_secs(2);

/// The topic on which it is told that there is something new.
pub(crate) fn topic(id: &TaskId) -> String {
    format!("{PROGRESS}:{id}")
}

/// The note of a value: the claim that it was written under, and the value.
pub(crate) fn write(token: Token, value: &[u8]) -> Bytes {
    let mut note = format!("{token}\n").into_bytes();
    note.extend_from_slice(value);
    note.into()
}

/// What [`write`] has written.
pub(crate) fn read(note: &Bytes) -> Result<(Token, Bytes)> {
    let broken = || Error::new(ErrorKind::Codec, "progress", "the note is not a progress");
    let end = note.iter().position(|b| *b == b'\n').ok_or_else(broken)?;
    let token = std::str::from_utf8(&note[..end]).ok().and_then(|token| token.parse().ok()).ok_or_else(broken)?;
    Ok((Token(token), note.slice(end + 1..)))
}

/// The values that a task reports, as long as it has not ended; from
/// [`TaskHandle::progress`](crate::TaskHandle::progress).
///
/// Each value is a later one than that before; values that come fast are left out. The last one comes in
/// any case.
pub struct ProgressStream<P> {
    handle: TaskHandle<()>,
    backend: Arc<dyn Backend>,
    key: NoteKey,
    listener: Option<Box<dyn Listener>>,
    seen: Option<u64>,
    has_ended: bool,
    value: PhantomData<fn() -> P>,
}

impl<P> fmt::Debug for ProgressStream<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressStream").field("id", self.handle.id()).finish_non_exhaustive()
    }
}

impl<P: DeserializeOwned> ProgressStream<P> {
    pub(crate) async fn open(handle: TaskHandle<()>, backend: Option<&Arc<dyn Backend>>) -> Result<Self> {
        let notebook = notes::notebook(backend, PROGRESS)?;
        let key = notes::key(PROGRESS, handle.id())?;
        let listener = Some(notebook.listen(&topic(handle.id())).await?);
        let backend = backend.map(Arc::clone).ok_or_else(|| Error::new(ErrorKind::Internal, PROGRESS, "no backend"))?;
        Ok(Self { handle, backend, key, listener, seen: None, has_ended: false, value: PhantomData })
    }

    /// The next value, or `None` when the task has ended. The first answer is the last value that was
    /// reported before, if there is one.
    ///
    /// # Errors
    /// `Codec` if the value is no `P`; `Unavailable` if the store cannot be reached, and the call can be
    /// repeated.
    ///
    /// # Cancel safety
    /// May be dropped at any time; no value is lost by that.
    pub async fn next(&mut self) -> Option<Result<P>> {
        loop {
            match self.look().await {
                Ok(None) if self.has_ended => return None,
                Ok(None) => self.wait().await,
                Ok(Some(value)) => return Some(codec::decode(PROGRESS, &value)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// A value that was not seen yet. Whether the task has ended is known before, so that nothing can come
    /// after the last look.
    async fn look(&mut self) -> Result<Option<Bytes>> {
        let notebook = notes::notebook(Some(&self.backend), PROGRESS)?;
        let note = notebook.read(std::slice::from_ref(&self.key)).await?.pop().flatten();
        let Some(note) = note.filter(|note| self.seen != Some(note.version)) else { return Ok(None) };
        let (_, value) = read(&note.value)?;
        self.seen = Some(note.version);
        Ok(Some(value))
    }

    /// Waits until something is signalled, the task ends, or it is time to look anyway.
    async fn wait(&mut self) {
        if self.listener.is_none() {
            let notebook = self.backend.notebook();
            self.listener = match notebook {
                Some(notebook) => notebook.listen(&topic(self.handle.id())).await.ok(),
                None => None,
            };
        }
        let heard = async {
            match &mut self.listener {
                Some(listener) => listener.next().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let ended = self.backend.wait(self.handle.id(), LOOK * 2);
        let first = timeout(LOOK, async {
            tokio::select! {
                heard = heard => (heard, false),
                ended = ended => (true, matches!(ended, Ok(Some(_)))),
            }
        });
        match first.await {
            Ok((hears, has_ended)) => {
                self.has_ended |= has_ended;
                if !hears {
                    self.listener = None;
                }
            }
            // Its end may not be kept, or it never was.
            Err(_) => self.has_ended |= self.is_over().await,
        }
    }

    async fn is_over(&self) -> bool {
        match self.handle.status().await {
            Ok(status) => status.is_none_or(|status| status.state.is_final()),
            // An outage is waited for.
            Err(error) => error.kind() == ErrorKind::Closed,
        }
    }
}

/// The last value that a task has reported.
pub(crate) async fn last<P: DeserializeOwned>(backend: Option<&Arc<dyn Backend>>, id: &TaskId) -> Result<Option<P>> {
    let notebook = notes::notebook(backend, PROGRESS)?;
    let note = notebook.read(&[notes::key(PROGRESS, id)?]).await?.pop().flatten();
    note.map(|note| codec::decode(PROGRESS, &read(&note.value)?.1)).transpose()
}
