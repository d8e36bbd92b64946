use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use tokio::sync::{Notify, broadcast, watch};
use windlass_core::{Heard, Result};

use super::signals::TARGET;
use crate::connection::closed;

/// Signals that a listener may be behind.
const BEHIND: usize = 128;
/// For how long this process counts as one that listens to a topic.
pub(super) const LIFETIME: Duration = Duration::from_secs(60);

/// Who listens to which topic in this process, shared by the listeners and the tasks that serve them.
pub(crate) struct Ears {
    /// The name of this process among those that listen.
    pub(super) name: String,
    /// Told when the topics must be noted again at once.
    pub(super) wake: Notify,
    /// Whether there is a connection that hears.
    connection: watch::Sender<Connection>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    Away,
    /// The number tells one from the next.
    Hears(u64),
    Closed,
}

#[derive(Default)]
struct State {
    topics: HashMap<String, Topic>,
    closed: bool,
    /// Whether signals were missed since the topics were noted last.
    has_missed: bool,
    /// When the topics were noted last.
    noted: Option<Instant>,
}

struct Topic {
    sender: broadcast::Sender<Heard>,
    /// Whether somebody was told that he listens.
    is_open: bool,
}

impl Ears {
    pub(crate) fn new() -> Self {
        let name = format!("{:016x}", fastrand::u64(..));
        Self { name, wake: Notify::new(), connection: watch::Sender::new(Connection::Away), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to collect what is heard of a topic.
    pub(super) fn join(&self, topic: &str) -> Result<broadcast::Receiver<Heard>> {
        let mut state = self.state();
        if state.closed {
            return Err(closed("listen"));
        }
        let new = || Topic { sender: broadcast::channel(BEHIND).0, is_open: false };
        Ok(state.topics.entry(topic.to_owned()).or_insert_with(new).sender.subscribe())
    }

    /// From now on, its listeners are told when something was missed. False if the connection is not the
    /// same any more, so that something may have been missed already.
    pub(super) fn opened(&self, topic: &str, connection: Connection) -> bool {
        // In this order, because a lost connection is noted before the topics are looked at.
        if let Some(topic) = self.state().topics.get_mut(topic) {
            topic.is_open = true;
        }
        *self.connection.borrow() == connection
    }

    /// What is to be noted: the topics that somebody listens to, in order.
    pub(super) fn to_note(&self) -> Noting {
        let mut state = self.state();
        state.topics.retain(|_, topic| topic.is_wanted());
        let mut topics: Vec<String> = state.topics.keys().cloned().collect();
        topics.sort_unstable();
        let hears = matches!(*self.connection.borrow(), Connection::Hears(_));
        let has_missed = hears && std::mem::take(&mut state.has_missed);
        Noting { topics, has_missed, begun: Instant::now() }
    }

    /// That was done, so what is signalled is heard again.
    pub(super) fn noted(&self, done: &Noting) {
        let mut state = self.state();
        let lapsed = state.noted.is_some_and(|before| done.begun.duration_since(before) >= LIFETIME);
        if done.has_missed || lapsed {
            for topic in state.topics.values().filter(|topic| topic.is_open) {
                // An error means that nobody listens any more.
                let _ = topic.sender.send(Heard::Missed);
            }
        }
        state.noted = Some(done.begun);
    }

    /// That could not be done.
    pub(super) fn not_noted(&self, failed: &Noting) {
        self.state().has_missed |= failed.has_missed;
    }

    /// Whether somebody listens.
    pub(crate) fn is_wanted(&self) -> bool {
        self.state().topics.values().any(Topic::is_wanted)
    }

    /// Waits for a connection that hears, or for the end.
    pub(super) async fn connected(&self) -> Connection {
        let mut connection = self.connection.subscribe();
        match connection.wait_for(|connection| *connection != Connection::Away).await {
            Ok(connection) => *connection,
            // Cannot come, because we have the sender.
            Err(_) => Connection::Closed,
        }
    }

    /// Ends with everything.
    pub(super) fn end(&self) -> Result<End> {
        match *self.connection.borrow() {
            Connection::Closed => Err(closed("listen")),
            _ => Ok(End(self.connection.subscribe())),
        }
    }

    /// A connection hears from now on. A server that crashed has forgotten who listens.
    pub(crate) fn hears_anew(&self) {
        self.connect(Connection::Hears(fastrand::u64(..)));
        self.wake.notify_one();
    }

    /// The connection was lost: whatever is signalled now is missed.
    pub(crate) fn is_deaf(&self) {
        self.connect(Connection::Away);
        let mut state = self.state();
        state.has_missed |= state.topics.values().any(|topic| topic.is_open && topic.is_wanted());
    }

    fn connect(&self, to: Connection) {
        self.connection.send_if_modified(|connection| {
            let is_open = *connection != Connection::Closed;
            if is_open {
                *connection = to;
            }
            is_open
        });
    }

    /// A signal: a topic, and a text in base 64.
    pub(crate) fn heard(&self, notice: &str) {
        let (topic, text) = notice.split_once(' ').unwrap_or((notice, ""));
        let mut state = self.state();
        let Some(known) = state.topics.get(topic) else { return };
        let is_heard = match STANDARD_NO_PAD.decode(text) {
            Ok(text) => known.sender.send(Heard::Signal(Bytes::from(text))).is_ok(),
            Err(error) => {
                tracing::debug!(target: TARGET, "signalled: {error}");
                true
            }
        };
        if !is_heard {
            state.topics.remove(topic);
        }
    }

    /// Ends all listening, and refuses more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        // Without senders, the listeners end.
        state.topics.clear();
        self.connection.send_replace(Connection::Closed);
    }
}

impl Topic {
    fn is_wanted(&self) -> bool {
        self.sender.receiver_count() > 0
    }
}

/// Topics that are to be noted.
pub(super) struct Noting {
    pub(super) topics: Vec<String>,
    /// Whether signals were missed before.
    has_missed: bool,
    begun: Instant,
}

/// See [`Ears::end`].
#[derive(Debug, Clone)]
pub(super) struct End(watch::Receiver<Connection>);

impl End {
    pub(super) async fn wait(&mut self) {
        // An error means the same.
        let _ = self.0.wait_for(|connection| *connection == Connection::Closed).await;
    }
}

/// What is sent of a signal.
pub(super) fn notice(topic: &str, text: &[u8]) -> String {
    format!("{topic} {}", STANDARD_NO_PAD.encode(text))
}
