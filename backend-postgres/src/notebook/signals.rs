use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::Arguments as _;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};
use windlass_core::notebook::SIGNAL_BYTES;
use windlass_core::{Error, ErrorKind, Heard, Listener, NoteKey, Result};

use super::ITEMS;
use super::ears::{Ears, End, LIFETIME, notice};
use crate::backend::PostgresBackend;
use crate::connection::{Work, closed, pause};
use crate::lane::Statement;
use crate::row::arguments;
use crate::store::{Store, unavailable};
use crate::thread::Spawner;

/// The target of what signals log.
pub(super) const TARGET: &str = "windlass::backend::postgres";

/// Refuses a topic that is none, and a text that is too long.
pub(super) fn check(topic: &str, text: &[u8]) -> Result<()> {
    NoteKey::new("signal", topic)?;
    if text.len() <= SIGNAL_BYTES {
        return Ok(());
    }
    Err(Error::invalid("signal", format_args!("{} B", text.len()), format_args!("at most {SIGNAL_BYTES} B")))
}

impl Store {
    /// Tells who listens to a topic.
    pub(crate) async fn signal(&self, topic: &str, text: &[u8]) -> Result<()> {
        let arguments = arguments("signal", |arguments| {
            arguments.add(topic)?;
            arguments.add(notice(topic, text))
        })?;
        let sent = self.link.ask("signal", Work::Write, Statement::new(&self.notebook.signal, arguments)).await;
        sent.map(|_| ()).map_err(|error| unavailable("signal", error))
    }

    /// Notes that the process of that name listens to topics, for a while.
    async fn listen_to(&self, name: &str, topics: &[String]) -> Result<()> {
        for topics in topics.chunks(ITEMS) {
            let arguments = arguments("listen", |arguments| {
                arguments.add(topics)?;
                arguments.add(name)?;
                arguments.add(i64::try_from(LIFETIME.as_millis())?)
            })?;
            let noted = self.link.ask("listen", Work::Write, Statement::new(&self.notebook.listen, arguments)).await;
            noted.map_err(|error| unavailable("listen", error))?;
        }
        Ok(())
    }
}

impl PostgresBackend {
    /// Listens to a topic; see [`windlass_core::Notebook::listen`].
    pub(super) async fn listen_to(&self, topic: &str) -> Result<Box<dyn Listener>> {
        let link = &self.store.link;
        if link.config().pooler {
            return Ok(Box::new(Look::new(self)?));
        }
        let ear = self.ears.join(topic)?;
        self.hub.listen();
        let limit = link.config().operation_timeout;
        let opened = link.spawner.within(limit, open(&self.store, &self.ears, topic)).await;
        opened.unwrap_or_else(|| {
            let text = format!("no connection to listen over in {limit:?}");
            Err(link.at(Error::new(ErrorKind::Unavailable, "listen", text)))
        })?;
        Ok(Box::new(Ear(ear)))
    }
}

/// Sees to it that a topic is heard, over one connection all the time.
async fn open(store: &Store, ears: &Ears, topic: &str) -> Result<()> {
    let topics = [topic.to_owned()];
    loop {
        let connection = ears.connected().await;
        store.listen_to(&ears.name, &topics).await?;
        if ears.opened(topic, connection) {
            return Ok(());
        }
    }
}

/// Keeps the topics of this process noted, as long as the backend lives.
pub(crate) async fn serve(store: Arc<Store>, ears: Arc<Ears>) {
    let mut attempts = 0;
    loop {
        let noting = ears.to_note();
        match store.listen_to(&ears.name, &noting.topics).await {
            Ok(()) => {
                attempts = 0;
                ears.noted(&noting);
                // An error means that nothing has changed meanwhile.
                let _ = timeout(LIFETIME / 3, ears.wake.notified()).await;
            }
            Err(error) => {
                attempts += 1;
                ears.not_noted(&noting);
                tracing::debug!(target: TARGET, "{error}; trying again");
                sleep(pause(attempts)).await;
            }
        }
    }
}

/// Hears what the connection of this process hears.
#[derive(Debug)]
struct Ear(broadcast::Receiver<Heard>);

#[async_trait]
impl Listener for Ear {
    async fn next(&mut self) -> Result<Heard> {
        match self.0.recv().await {
            Ok(heard) => Ok(heard),
            Err(RecvError::Lagged(_)) => Ok(Heard::Missed),
            Err(RecvError::Closed) => Err(closed("listen")),
        }
    }
}

/// Where nobody can listen: says at intervals that it is time to look.
#[derive(Debug)]
struct Look {
    spawner: Spawner,
    end: End,
    poll: Duration,
    due: Instant,
}

impl Look {
    fn new(backend: &PostgresBackend) -> Result<Self> {
        let poll = backend.store.link.config().poll;
        let (spawner, end) = (backend.store.link.spawner.clone(), backend.ears.end()?);
        Ok(Self { spawner, end, poll, due: Instant::now() + poll })
    }
}

#[async_trait]
impl Listener for Look {
    async fn next(&mut self) -> Result<Heard> {
        let left = self.due.saturating_duration_since(Instant::now());
        if self.spawner.within(left, self.end.wait()).await.is_some() {
            return Err(closed("listen"));
        }
        self.due = Instant::now() + self.poll;
        Ok(Heard::Missed)
    }
}
