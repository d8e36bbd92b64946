//! Publishing with confirms: a message counts as sent when the server has said so.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use windlass_core::{Error, ErrorKind, Result};

use crate::confirm::{Attempt, BLOCKED_TEXT, Fate};
use crate::connection::{Link, Live, pause};
use crate::delay;
use crate::error::too_slow;
use crate::level::Slot;
use crate::route::{Outgoing, Target};
use crate::topology::Topology;

/// Calls that wait for confirms at the same moment, each on a channel of its own.
const CHANNELS: usize = 16;
/// How often a blocked connection is looked at.
const BLOCKED: Duration = Duration::from_millis(20);
/// How often a message is refused before it is taken for an answer. A quorum queue also refuses while
/// it comes into being or has no leader.
const REFUSALS: u32 = 3;

/// Publishes over one connection that is never used to consume: RabbitMQ stops reading from those
/// that publish when it runs out of memory.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) link: Link,
    topology: Topology,
    turns: Semaphore,
    declaring: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    operation_timeout: Duration,
    /// Whether a queue can be full.
    is_limited: bool,
}

/// What belongs to one generation of the connection.
#[derive(Debug, Default)]
struct State {
    generation: u64,
    declared: HashSet<String>,
    free: Vec<Channel>,
}

/// One message of a call.
#[derive(Debug, Default)]
struct Track {
    answer: Option<Result<()>>,
    refusals: u32,
    was_returned: bool,
    /// What is said of it if its time is over.
    last: Option<Error>,
    maybe_sent: bool,
}

impl Sender {
    pub(crate) fn new(link: Link, topology: Topology, operation_timeout: Duration, is_limited: bool) -> Self {
        let (turns, declaring) = (Semaphore::new(CHANNELS), tokio::sync::Mutex::default());
        Self { link, topology, turns, declaring, state: Mutex::default(), operation_timeout, is_limited }
    }

    /// Whether the server takes nothing from those that publish.
    pub(crate) fn is_blocked(&self) -> bool {
        self.link.current().is_some_and(|live| live.connection.status().blocked())
    }

    /// Publishes all, again and again until each is confirmed or refused, or the time is over.
    ///
    /// Must run on the thread of the broker, and only there: the driver numbers a message and queues
    /// its frames in two steps, which two threads could mix.
    pub(crate) async fn send(&self, items: &[Outgoing], deadline: Instant) -> Vec<Result<()>> {
        let mut tracks: Vec<Track> = items.iter().map(|_| Track::default()).collect();
        let mut alone = false;
        for attempt in 0.. {
            let mut open: Vec<usize> = (0..items.len()).filter(|place| tracks[*place].answer.is_none()).collect();
            open.truncate(if alone { 1 } else { usize::MAX });
            if open.is_empty() {
                break;
            }
            let batch: Vec<&Outgoing> = open.iter().map(|place| &items[*place]).collect();
            let pressing = match self.turn(&batch, deadline).await {
                Ok(fates) => {
                    alone |= fates.iter().any(|fate| matches!(fate, Fate::TooLarge(_)));
                    let only = open.len() == 1;
                    let note =
                        |(place, fate): (usize, Fate)| self.note(&mut tracks[place], fate, &items[place].target, only);
                    open.into_iter().zip(fates).map(note).fold(false, |any, one| any | one)
                }
                Err(error) => {
                    open.iter().for_each(|place| tracks[*place].last = Some(error.duplicate()));
                    if !error.is_retryable() {
                        break;
                    }
                    true
                }
            };
            let wait = if pressing { pause(attempt) } else { Duration::ZERO };
            if Instant::now() + wait >= deadline {
                break;
            }
            sleep(wait).await;
        }
        tracks.into_iter().map(|track| track.end(self.link.address())).collect()
    }

    /// Notes what an attempt has told; answers whether to pause before the next.
    fn note(&self, track: &mut Track, fate: Fate, target: &Target, only: bool) -> bool {
        match fate {
            Fate::Confirmed => track.answer = Some(Ok(())),
            Fate::Refused => {
                track.refusals += 1;
                let is_full = self.is_limited && track.refusals >= REFUSALS;
                track.last = Some(self.refused());
                track.answer = is_full.then(|| Err(self.refused()));
                return !is_full;
            }
            // It was there a moment ago: declared again, it may be there.
            Fate::Unroutable if !std::mem::replace(&mut track.was_returned, true) => self.forget(target),
            Fate::Unroutable => track.answer = Some(Err(self.unroutable(target))),
            Fate::TooLarge(error) if only => track.answer = Some(Err(error)),
            Fate::TooLarge(error) => track.last = Some(error),
            Fate::Lost(error) => {
                track.maybe_sent |= error.kind() == ErrorKind::Unknown;
                track.answer = (!error.is_retryable()).then(|| Err(error.duplicate()));
                track.last = Some(error);
                return true;
            }
        }
        false
    }

    /// One attempt when it is its turn. An error means that nothing was sent.
    async fn turn(&self, batch: &[&Outgoing], deadline: Instant) -> Result<Vec<Fate>> {
        let late = || too_slow("publish", false, self.link.address());
        let _turn = timeout_at(deadline, self.turns.acquire()).await.map_err(|_| late())?;
        let live = self.unblocked(deadline).await?;
        let mut last = None;
        for item in batch.iter().filter(|item| last.replace(&item.target) != Some(&item.target)) {
            self.ensure(&live, &item.target).await?;
        }
        let channel = self.channel(&live).await?;
        let (silence, names) = (self.operation_timeout, &self.topology.names);
        let attempt = Attempt { link: &self.link, live: &live, channel: &channel, names, silence, deadline };
        let (fates, is_whole) = attempt.run(batch).await;
        if is_whole {
            self.give_back(&live, channel);
        } else {
            let link = self.link.clone();
            tokio::spawn(async move { link.close_channel(&live, &channel).await });
        }
        Ok(fates)
    }

    /// The connection, once the server reads from it.
    pub(crate) async fn unblocked(&self, deadline: Instant) -> Result<Live> {
        let late = || too_slow("publish", false, self.link.address());
        let live = timeout_at(deadline, self.link.live()).await.map_err(|_| late())??;
        while live.connection.status().blocked() {
            if Instant::now() + BLOCKED >= deadline {
                let text = format!("{BLOCKED_TEXT}; nothing was sent");
                return Err(Error::new(ErrorKind::Unavailable, "publish", text).with("rabbitmq", self.link.address()));
            }
            sleep(BLOCKED).await;
        }
        Ok(live)
    }

    fn refused(&self) -> Error {
        let text = if self.is_limited {
            "queue full: RabbitMQ refused the message (setting: broker.max_length)"
        } else {
            "RabbitMQ refused the message: the queue cannot be written to"
        };
        Error::new(ErrorKind::Rejected, "publish", text).retryable(true).with("rabbitmq", self.link.address())
    }

    fn unroutable(&self, target: &Target) -> Error {
        let text = "unroutable: the queue is not there, and was not there again after it was declared";
        let error = Error::new(ErrorKind::Rejected, "publish", text).retryable(true);
        error.with("queue", target.destination(&self.topology.names)).with("rabbitmq", self.link.address())
    }

    /// Declares what a message needs, once for each connection.
    async fn ensure(&self, live: &Live, target: &Target) -> Result<()> {
        if self.is_declared(live, target) {
            return Ok(());
        }
        let _turn = self.declaring.lock().await;
        if self.is_declared(live, target) {
            return Ok(());
        }
        let (topology, link) = (&self.topology, &self.link);
        match target {
            Target::Slot(queue, slot) => topology.slots(link, live, queue, &[*slot]).await?,
            Target::Later(queue, priority, seconds) => {
                topology.slots(link, live, queue, &[Slot::Level(*priority)]).await?;
                topology.ladder(link, live, delay::first_rung(*seconds)).await?;
            }
            Target::Dead(queue) => topology.dead(link, live, queue).await?,
        }
        self.with(live, |state| state.declared.extend(self.needs(target)));
        Ok(())
    }

    /// What must be declared for a message to arrive.
    fn needs(&self, target: &Target) -> Vec<String> {
        let names = &self.topology.names;
        let mut needs = vec![target.destination(names)];
        if let Target::Later(_, _, seconds) = target {
            needs.push(names.rung(delay::first_rung(*seconds), 0));
        }
        needs
    }

    fn is_declared(&self, live: &Live, target: &Target) -> bool {
        let needs = self.needs(target);
        self.with(live, |state| needs.iter().all(|name| state.declared.contains(name)))
    }

    fn forget(&self, target: &Target) {
        let needs = self.needs(target);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.declared.retain(|name| !needs.contains(name));
    }

    /// A channel with confirms that nobody else uses.
    async fn channel(&self, live: &Live) -> Result<Channel> {
        while let Some(channel) = self.with(live, |state| state.free.pop()) {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = self.link.channel("publish", live).await?;
        self.link.ask("publish", live, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    fn give_back(&self, live: &Live, channel: Channel) {
        let is_current = self.link.current().is_some_and(|now| now.generation == live.generation);
        if is_current && channel.status().connected() {
            self.with(live, |state| state.free.push(channel));
        }
    }

    fn with<R>(&self, live: &Live, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation != live.generation {
            *state = State { generation: live.generation, ..State::default() };
        }
        act(&mut state)
    }

    pub(crate) async fn close(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
        self.link.close().await;
    }
}

impl Track {
    /// The answer; when the time is over, what was once sent may be there.
    fn end(self, address: &str) -> Result<()> {
        let last = || self.last.unwrap_or_else(|| too_slow("publish", false, address));
        match self.answer {
            Some(answer) => answer,
            None => {
                let last = last();
                if !self.maybe_sent || last.kind() == ErrorKind::Unknown {
                    return Err(last);
                }
                let text = format!("no answer to an earlier attempt, then: {}", last.message());
                Err(Error::new(ErrorKind::Unknown, "publish", text).with_source(last))
            }
        }
    }
}
