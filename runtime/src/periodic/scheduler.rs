use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use windlass_core::periodic::check_name;
use windlass_core::{ErrorKind, Heard, Listener, Result};

use super::round::Desk;
use super::shelf::Shelf;
use crate::client::Client;
use crate::pause::Pause;

/// How often it is looked whether an entry was changed, and what time it is, where nobody has told.
const LOOK: Duration = Duration::from_secs(10);
/// How often all entries are read, whether or not something says that one was changed.
const LIST: Duration = Duration::from_secs(300);
/// Entries of one read.
const PAGE: usize = 500;
/// Entries that are seen to in one round.
const ROUND: usize = 100;
/// Changes that are heard of before they are looked at.
const NEWS: usize = 1000;
/// How long a scheduler that is to stop may still talk to the stores.
const LAST_WORD: Duration = Duration::from_secs(5);
/// The shortest sleep.
const STEP: Duration = Duration::from_millis(1);

/// Makes tasks of the ticks of all periodic entries of a backend.
///
/// Any number of schedulers may run: each tick is one task. None of them is the leader, so none is
/// missed when it dies.
#[doc(alias = "beat")]
#[derive(Debug)]
pub struct Scheduler(Watch);

#[derive(Debug)]
struct Watch {
    desk: Desk,
    shelf: Shelf,
    ear: Option<Box<dyn Listener>>,
    /// Entries that were changed, as was heard.
    news: BTreeSet<String>,
    mark: Option<u64>,
    looked: Option<Instant>,
    listed: Option<Instant>,
    pause: Pause,
}

impl Scheduler {
    /// A scheduler over the stores of a client.
    ///
    /// # Errors
    /// `Unsupported` without a backend, which keeps the entries.
    pub fn new(client: &Client) -> Result<Self> {
        let shelf = Shelf::of(client)?;
        let desk = Desk::new(client.clone(), shelf.clone());
        Ok(Self(Watch {
            desk,
            shelf,
            ear: None,
            news: BTreeSet::new(),
            mark: None,
            looked: None,
            listed: None,
            pause: Pause::default(),
        }))
    }

    /// Runs until `stop` is ready, and then ends what it has begun with the stores, within five seconds.
    ///
    /// An unreachable store is no end: it tries again until it is back.
    ///
    /// # Cancel safety
    /// If the future is dropped, ticks that were claimed and not published are published by another
    /// scheduler, or by this one when it runs again, half a minute later.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let stopping = CancellationToken::new();
        let mut work = pin!(self.0.work(stopping.clone()));
        tokio::select! {
            () = &mut work => return,
            () = stop => stopping.cancel(),
        }
        // What takes longer than that is taken over by others.
        let _ = timeout(LAST_WORD, work).await;
    }
}

impl Watch {
    async fn work(mut self, stopping: CancellationToken) {
        while !stopping.is_cancelled() {
            let rest = match self.step().await {
                Ok(()) => {
                    self.pause.reset();
                    self.rest()
                }
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    if self.pause.is_news() {
                        tracing::warn!(target: "windlass::periodic", %error, "cannot see to the entries; trying again");
                    }
                    self.pause.next()
                }
            };
            tokio::select! {
                () = stopping.cancelled() => {}
                () = self.hear(rest) => {}
            }
        }
    }

    /// Does what is to be done now.
    async fn step(&mut self) -> Result<()> {
        self.look().await?;
        self.news.extend(self.desk.orphans());
        let news: Vec<String> = self.news.iter().cloned().collect();
        for names in news.chunks(ROUND) {
            self.desk.see_to(names).await?;
        }
        self.news.clear();
        loop {
            let due = self.desk.agenda.due(self.desk.now(), ROUND);
            if due.is_empty() {
                return Ok(());
            }
            self.desk.see_to(&due).await?;
            // Others on this runtime have their turn, however many entries are due.
            tokio::task::yield_now().await;
        }
    }

    /// Reads all entries if one was changed of which nobody has told, and now and then anyway.
    async fn look(&mut self) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        if self.ear.is_none() {
            self.ear = self.shelf.listen().await.ok();
        }
        let mark = self.shelf.mark().await?;
        if mark != self.mark || self.listed.is_none_or(|listed| listed.elapsed() >= LIST) {
            self.list().await?;
            (self.mark, self.listed) = (mark, Some(Instant::now()));
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    async fn list(&mut self) -> Result<()> {
        let mut names = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let (page, next) = self.shelf.list(after.as_deref(), PAGE).await?;
            for (name, stored) in page {
                self.desk.learn(&name, &stored);
                names.insert(name);
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        self.desk.agenda.keep_only(&names);
        Ok(())
    }

    /// How long nothing is to be done.
    fn rest(&self) -> Duration {
        let until_look = self.looked.map_or(Duration::ZERO, |looked| LOOK.saturating_sub(looked.elapsed()));
        let until_due = self.desk.agenda.next().map(|next| next.since(self.desk.now()));
        until_due.map_or(until_look, |due| due.min(until_look)).max(STEP)
    }

    /// Waits that long, or until an entry is changed.
    async fn hear(&mut self, rest: Duration) {
        let Some(ear) = &mut self.ear else { return sleep(rest).await };
        tokio::select! {
            () = sleep(rest) => return,
            heard = ear.next() => match heard {
                Ok(heard) => note(heard, &mut self.news, &mut self.looked),
                Err(_) => self.ear = None,
            },
        }
        while let Some(ear) = &mut self.ear
            && self.news.len() < NEWS
            && let Some(heard) = ear.next().now_or_never()
        {
            match heard {
                Ok(heard) => note(heard, &mut self.news, &mut self.looked),
                Err(_) => self.ear = None,
            }
        }
    }
}

fn note(heard: Heard, news: &mut BTreeSet<String>, looked: &mut Option<Instant>) {
    match heard {
        Heard::Signal(name) => {
            if let Ok(name) = std::str::from_utf8(&name)
                && check_name(name).is_ok()
            {
                news.insert(name.to_owned());
            }
        }
        Heard::Missed => *looked = None,
    }
}
