//! The connection on which a backend hears what is published, shared by everything that listens.
//!
//! It is opened when something listens first, and replaced when it breaks.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Msg, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use windlass_core::Error;

use crate::connection::{Link, pause};
use crate::error::{Reaction, failed, reaction};
use crate::thread::Spawner;

/// Most channels in one request.
const CHANNELS: usize = 500;

/// Listens to one channel. Its methods are called on the thread of the connections, and return at
/// once.
pub(crate) trait Ear: Send + Sync {
    /// Something was published.
    fn hear(&self, message: &[u8]);

    /// Whether it hears has changed.
    fn turn(&self, line: Line);

    /// Whether nothing depends on it at the moment, so that silence need not be looked into.
    fn is_idle(&self) -> bool;
}

/// Whether a channel is heard.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// Not yet, or not any more.
    Silent,
    /// What is published from now on is heard.
    Heard,
    /// The last attempt has failed; further ones follow.
    Failed(Arc<Error>),
}

/// See the module.
pub(crate) struct Ears {
    spawner: Spawner,
    link: Link,
    /// After so much silence the connection is tried.
    poll: Duration,
    entries: Mutex<Entries>,
    /// Told when something is listened to, or not any more.
    changed: Notify,
    served: AtomicBool,
}

#[derive(Default)]
struct Entries {
    wanted: HashMap<String, Arc<dyn Ear>>,
    /// Channels of which it was not looked at whether they are wanted.
    changed: HashSet<String>,
}

impl Ears {
    /// Hears nothing and opens nothing until somebody listens.
    pub(crate) fn new(spawner: Spawner, link: Link, poll: Duration) -> Self {
        let (entries, changed, served) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self { spawner, link, poll, entries, changed, served }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics between two changes that belong together.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a channel from now on.
    pub(crate) fn add(self: &Arc<Self>, channel: &str, ear: Arc<dyn Ear>) {
        self.change(channel, Some(ear));
        if !self.served.swap(true, Ordering::Relaxed) {
            self.spawner.detach(serve(Arc::clone(self)));
        }
    }

    /// Does not listen to a channel any more.
    pub(crate) fn remove(&self, channel: &str) {
        self.change(channel, None);
    }

    fn change(&self, channel: &str, ear: Option<Arc<dyn Ear>>) {
        let mut entries = self.entries();
        match ear {
            Some(ear) => entries.wanted.insert(channel.to_owned(), ear),
            None => entries.wanted.remove(channel),
        };
        entries.changed.insert(channel.to_owned());
        self.changed.notify_one();
    }

    fn all(&self) -> Vec<Arc<dyn Ear>> {
        self.entries().wanted.values().cloned().collect()
    }

    /// The channels that have changed, each with what listens to it now.
    fn take_changed(&self) -> Vec<(String, Option<Arc<dyn Ear>>)> {
        let mut entries = self.entries();
        let changed = std::mem::take(&mut entries.changed);
        let with_ear = |channel: String| {
            let ear = entries.wanted.get(&channel).cloned();
            (channel, ear)
        };
        changed.into_iter().map(with_ear).collect()
    }

    /// Has these looked at again.
    fn again(&self, channels: impl IntoIterator<Item = String>) {
        self.entries().changed.extend(channels);
    }
}

/// Listens for ever; a connection that breaks is replaced.
async fn serve(ears: Arc<Ears>) {
    let mut attempts = 0;
    loop {
        match ears.link.opener().pubsub().await {
            Ok(connection) => {
                attempts = 0;
                listen(&ears, connection).await;
            }
            Err(error) => {
                if attempts == 0 {
                    tracing::warn!(target: "windlass::backend::redis", "{error}; results are polled for, not pushed");
                }
                let error = Arc::new(error);
                ears.all().iter().for_each(|ear| ear.turn(Line::Failed(Arc::clone(&error))));
            }
        }
        sleep(pause(attempts)).await;
        attempts += 1;
    }
}

/// Hands on what is published, until the connection breaks.
async fn listen(ears: &Ears, connection: PubSub) {
    let (requests, messages) = connection.split();
    let mut session = Session { ears, requests, heard: HashMap::new(), refusals: 0 };
    let channels: Vec<String> = ears.entries().wanted.keys().cloned().collect();
    ears.again(channels);
    // An error says no more than that this connection is of no use.
    let _ = session.serve(messages).await;
    session.heard.values().for_each(|ear| ear.turn(Line::Silent));
}

/// The connection is of no use any more.
struct Broken;

/// One connection, and what is heard on it.
struct Session<'a> {
    ears: &'a Ears,
    requests: PubSubSink,
    heard: HashMap<String, Arc<dyn Ear>>,
    /// How often in a row the server has refused a channel.
    refusals: u32,
}

impl Session<'_> {
    async fn serve(&mut self, mut messages: PubSubStream) -> Result<(), Broken> {
        self.follow().await?;
        loop {
            let refused = self.refusals > 0;
            tokio::select! {
                () = self.ears.changed.notified() => self.follow().await?,
                () = sleep(pause(self.refusals)), if refused => self.follow().await?,
                message = timeout(self.ears.poll, messages.next()) => match message {
                    Ok(Some(message)) => self.hand_on(&message),
                    Ok(None) => return Err(Broken),
                    Err(_) if self.heard.values().all(|ear| ear.is_idle()) => {}
                    // Silence can also mean that the connection is dead.
                    Err(_) => self.ping().await?,
                },
            }
        }
    }

    fn hand_on(&self, message: &Msg) {
        if let Some(ear) = self.heard.get(message.get_channel_name()) {
            ear.hear(message.get_payload_bytes());
        }
    }

    async fn ping(&mut self) -> Result<(), Broken> {
        let answer = timeout(self.ears.link.operation_timeout(), self.requests.ping::<Value>()).await;
        answer.map_err(|_| Broken)?.map(|_| ()).map_err(|_| Broken)
    }

    /// Subscribes to what is wanted and not heard, and leaves what is not wanted any more.
    async fn follow(&mut self) -> Result<(), Broken> {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (channel, ear) in self.ears.take_changed() {
            match ear {
                // Left and wanted again before that was looked at.
                Some(ear) if self.heard.contains_key(&channel) => {
                    ear.turn(Line::Heard);
                    self.heard.insert(channel, ear);
                }
                Some(ear) => added.push((channel, ear)),
                None if self.heard.remove(&channel).is_some() => removed.push(channel),
                None => {}
            }
        }
        for channels in removed.chunks(CHANNELS) {
            let leaving = timeout(self.ears.link.operation_timeout(), self.requests.unsubscribe(channels)).await;
            leaving.map_err(|_| Broken)?.map_err(|_| Broken)?;
        }
        let mut refused = 0;
        for added in added.chunks(CHANNELS) {
            refused += self.subscribe(added).await?;
        }
        self.refusals = if refused > 0 { self.refusals.saturating_add(1) } else { 0 };
        Ok(())
    }

    /// Answers how many were refused. A server refuses all channels of a request for one of them.
    async fn subscribe(&mut self, added: &[(String, Arc<dyn Ear>)]) -> Result<usize, Broken> {
        match self.request(added).await? {
            Ok(()) => Ok(0),
            Err(cause) if added.len() == 1 => {
                self.refuse(&added[0], cause);
                Ok(1)
            }
            Err(_) => {
                let mut refused = 0;
                for one in added.chunks(1) {
                    if let Err(cause) = self.request(one).await? {
                        self.refuse(&one[0], cause);
                        refused += 1;
                    }
                }
                Ok(refused)
            }
        }
    }

    async fn request(&mut self, added: &[(String, Arc<dyn Ear>)]) -> Result<Result<(), RedisError>, Broken> {
        let channels: Vec<&str> = added.iter().map(|(channel, _)| channel.as_str()).collect();
        let asking = timeout(self.ears.link.operation_timeout(), self.requests.subscribe(channels)).await;
        match asking.map_err(|_| Broken)? {
            Ok(()) => {
                for (channel, ear) in added {
                    self.heard.insert(channel.clone(), Arc::clone(ear));
                    ear.turn(Line::Heard);
                }
                Ok(Ok(()))
            }
            Err(cause) if reaction(&cause) == Reaction::Reconnect => Err(Broken),
            Err(cause) => Ok(Err(cause)),
        }
    }

    fn refuse(&self, (channel, ear): &(String, Arc<dyn Ear>), cause: RedisError) {
        let error = failed("listen", cause, false, self.ears.link.address()).with("channel", channel);
        if self.refusals == 0 {
            tracing::warn!(target: "windlass::backend::redis", "{error}; trying again");
        }
        ear.turn(Line::Failed(Arc::new(error)));
        self.ears.again([channel.clone()]);
    }
}
