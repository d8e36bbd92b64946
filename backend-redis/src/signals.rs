//! Signals: sent by everybody, heard by everybody who listens to their topic.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use windlass_core::notebook::SIGNAL_BYTES;
use windlass_core::{Error, ErrorKind, Heard, Listener, NoteKey, Result};

use crate::connection::closed;
use crate::ears::{Ear, Ears, Line};
use crate::store::Store;
use crate::thread::Spawner;

/// Signals that a listener may be behind before it misses some.
const BEHIND: usize = 256;

/// The topics that somebody in this process listens to.
pub(crate) struct Topics {
    spawner: Spawner,
    store: Arc<Store>,
    ears: Arc<Ears>,
    /// By their channel; `None` after the end.
    topics: Mutex<Option<HashMap<String, Topic>>>,
}

/// What all listeners of a topic share. Without its sender, they are told that it is over.
struct Topic {
    sender: broadcast::Sender<Heard>,
    line: watch::Receiver<Line>,
}

impl Topics {
    pub(crate) fn new(spawner: Spawner, store: Arc<Store>, ears: Arc<Ears>) -> Self {
        Self { spawner, store, ears, topics: Mutex::new(Some(HashMap::new())) }
    }

    fn topics(&self) -> MutexGuard<'_, Option<HashMap<String, Topic>>> {
        // Nothing panics between two changes that belong together.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everyone who listens to a topic.
    pub(crate) async fn signal(&self, topic: &str, text: &[u8]) -> Result<()> {
        NoteKey::new("signal", topic)?;
        if text.len() > SIGNAL_BYTES {
            let allowed = format_args!("at most {SIGNAL_BYTES} B").to_string();
            return Err(Error::invalid("signal", format_args!("{} B", text.len()), allowed));
        }
        let mut call = redis::cmd("PUBLISH");
        call.arg(self.store.keys.signal(topic)).arg(text);
        let send = |mut connection| async move { call.query_async::<u64>(&mut connection).await };
        // Whether somebody has heard it cannot be told anyway.
        self.store.link.ask("signal", false, send).await.map(|_| ())
    }

    /// Listens to a topic; answers when that is so.
    pub(crate) async fn listen(self: &Arc<Self>, topic: &str) -> Result<TopicListener> {
        NoteKey::new("signal", topic)?;
        let (listener, mut line) = self.join(self.store.keys.signal(topic))?;
        let heard = async {
            loop {
                match &*line.borrow_and_update() {
                    Line::Heard => return Ok(()),
                    Line::Failed(error) if !error.is_retryable() => return Err(error.duplicate()),
                    Line::Silent | Line::Failed(_) => {}
                }
                line.changed().await.map_err(|_| closed("listen"))?;
            }
        };
        match self.spawner.within(self.store.link.operation_timeout(), heard).await {
            Some(answer) => answer.map(|()| listener),
            None => Err(self.unheard(&line)),
        }
    }

    fn unheard(&self, line: &watch::Receiver<Line>) -> Error {
        match &*line.borrow() {
            Line::Failed(error) => error.duplicate(),
            Line::Silent | Line::Heard => Error::new(ErrorKind::Unavailable, "listen", "no connection yet")
                .with("redis", self.store.link.address()),
        }
    }

    /// One more listener of a channel, and whether that is heard.
    fn join(self: &Arc<Self>, channel: String) -> Result<(TopicListener, watch::Receiver<Line>)> {
        let mut topics = self.topics();
        let topics = topics.as_mut().ok_or_else(|| closed("listen"))?;
        let topic = topics.entry(channel.clone()).or_insert_with(|| {
            let sender = broadcast::Sender::new(BEHIND);
            let (turned, line) = watch::channel(Line::Silent);
            let ear = TopicEar { sender: sender.downgrade(), turned, heard_before: Mutex::new(false) };
            self.ears.add(&channel, Arc::new(ear));
            Topic { sender, line }
        });
        let receiver = topic.sender.subscribe();
        let listener = TopicListener { receiver, _ticket: Ticket { topics: Arc::downgrade(self), channel } };
        Ok((listener, topic.line.clone()))
    }

    fn leave(&self, channel: &str) {
        let mut topics = self.topics();
        let Some(topics) = topics.as_mut() else { return };
        if topics.get(channel).is_some_and(|topic| topic.sender.receiver_count() == 0) {
            topics.remove(channel);
            self.ears.remove(channel);
        }
    }

    /// Ends all listening, and refuses what is to come.
    pub(crate) fn close(&self) {
        self.topics().take();
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").field("count", &self.topics().as_ref().map(HashMap::len)).finish()
    }
}

/// Brings what is published on a channel to its topic.
struct TopicEar {
    sender: broadcast::WeakSender<Heard>,
    turned: watch::Sender<Line>,
    heard_before: Mutex<bool>,
}

impl TopicEar {
    fn tell(&self, heard: Heard) {
        if let Some(sender) = self.sender.upgrade() {
            // An error means that nobody listens any more.
            let _ = sender.send(heard);
        }
    }
}

impl Ear for TopicEar {
    fn hear(&self, message: &[u8]) {
        self.tell(Heard::Signal(Bytes::copy_from_slice(message)));
    }

    fn turn(&self, line: Line) {
        if matches!(line, Line::Heard) {
            let mut before = self.heard_before.lock().unwrap_or_else(PoisonError::into_inner);
            // What was sent since the channel was last heard is lost.
            if std::mem::replace(&mut *before, true) {
                self.tell(Heard::Missed);
            }
        }
        self.turned.send_replace(line);
    }

    fn is_idle(&self) -> bool {
        false
    }
}

/// One who listens.
pub(crate) struct TopicListener {
    /// Before the ticket, which counts receivers when it is dropped.
    receiver: broadcast::Receiver<Heard>,
    _ticket: Ticket,
}

#[async_trait]
impl Listener for TopicListener {
    async fn next(&mut self) -> Result<Heard> {
        match self.receiver.recv().await {
            Ok(heard) => Ok(heard),
            Err(RecvError::Lagged(_)) => Ok(Heard::Missed),
            Err(RecvError::Closed) => Err(closed("listen")),
        }
    }
}

impl fmt::Debug for TopicListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicListener").field("channel", &self._ticket.channel).finish_non_exhaustive()
    }
}

/// Ends the topic with its last listener.
struct Ticket {
    topics: Weak<Topics>,
    channel: String,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(topics) = self.topics.upgrade() {
            topics.leave(&self.channel);
        }
    }
}
