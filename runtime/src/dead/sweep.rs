use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use windlass_core::{DeadLetter, Error, ErrorKind, FailureKind, Replay, Result, TaskId, Timestamp};

use super::DeadLetters;
use super::filter::{Filter, Selection};
use crate::pause::in_time;

/// Letters that are held at a time.
const PAGE: usize = 100;
/// At a set rate, letters go in parts of what comes in this time.
const PART: f64 = 0.1;

type Edit = Box<dyn FnMut(&DeadLetter) -> Result<Option<Replay>> + Send>;

/// What is done with dead letters.
pub(super) enum Action {
    Replay,
    Edit(Edit),
    Discard,
    Count,
}

/// A way through the dead letters of a queue, from the oldest to what was there when it began.
///
/// What dies while it is under way is left, so that a task that fails again is not replayed for ever;
/// this is decided by the clock of this process.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
/// # let harness = windlass_testing::Harness::new();
/// # let client = harness.client();
/// let mut sweep = client.dead("mail")?.select().task("send").reason("timeout").rate(50.0).replay();
/// let count = sweep.run().await?;
/// # assert_eq!(count, 0);
/// # Ok::<_, windlass_core::Error>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a sweep does nothing until it is run"]
pub struct Sweep {
    dead: DeadLetters,
    filter: Filter,
    action: Action,
    error: Option<Error>,
    pace: Option<Pace>,
    /// What died later is left.
    until: Option<Timestamp>,
    /// What was put back in the instant at which it began: if it dies again at once, time does not tell.
    first: HashSet<TaskId>,
    cursor: Option<String>,
    is_over: bool,
    count: usize,
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dead, filter, cursor, is_over, count, .. } = self;
        f.debug_struct("Sweep")
            .field("queue", &dead.queue)
            .field("filter", filter)
            .field("cursor", cursor)
            .field("is_over", is_over)
            .field("count", count)
            .finish_non_exhaustive()
    }
}

/// A rate and what it allows next.
#[derive(Debug)]
struct Pace {
    rate: f64,
    next: Option<Instant>,
}

impl Pace {
    /// How many letters go at a time.
    fn part(&self) -> usize {
        ((self.rate * PART) as usize).clamp(1, PAGE)
    }

    async fn wait(&self) {
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
    }

    fn used(&mut self, letters: usize) {
        let from = self.next.map_or_else(Instant::now, |next| next.max(Instant::now()));
        self.next = Some(from + Duration::from_secs_f64(letters as f64 / self.rate));
    }
}

impl Sweep {
    pub(super) fn new(selection: Selection, action: Action) -> Self {
        let Selection { dead, filter, after, rate, error } = selection;
        let pace = rate.map(|rate| Pace { rate, next: None });
        Self {
            dead,
            filter,
            action,
            error,
            pace,
            until: None,
            first: HashSet::new(),
            cursor: after,
            is_over: false,
            count: 0,
        }
    }

    /// Goes on to the end; answers how many letters there were by now. Holds a page of them at a time.
    ///
    /// After an error, or if the future was dropped, it can be called again and goes on where it was.
    ///
    /// # Errors
    /// `Invalid` for a condition, a rate or an edited call that makes no sense, `Unsupported` if
    /// letters are chosen by kind and there is no backend; `Unavailable` or `Unknown` if a store
    /// cannot be reached.
    ///
    /// # Cancel safety
    /// If the future is dropped, what is done is done and counted, but for a call that was under way.
    pub async fn run(&mut self) -> Result<usize> {
        if let Some(error) = &self.error {
            return Err(error.duplicate());
        }
        while !self.is_over {
            self.page().await?;
        }
        Ok(self.count)
    }

    /// How many letters there were by now.
    pub fn done(&self) -> usize {
        self.count
    }

    /// Where another sweep can go on, by [`Selection::after`]; `None` at the very beginning.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    async fn page(&mut self) -> Result<()> {
        let until = *self.until.get_or_insert_with(|| self.dead.client.clock().now());
        let page = self.dead.list(self.cursor.as_deref(), PAGE).await?;
        let is_last = page.next.is_none() || page.letters.iter().any(|letter| letter.died_at > until);
        let fits = |letter: &DeadLetter| {
            letter.died_at <= until && !self.first.contains(&letter.id) && self.filter.fits(letter, until)
        };
        let letters: Vec<DeadLetter> = page.letters.into_iter().filter(fits).collect();
        let letters = self.of_kind(letters).await?;
        let part = self.pace.as_ref().map_or(PAGE, Pace::part);
        for letters in letters.chunks(part) {
            self.act(letters).await?;
        }
        // Until here, the whole page is listed again: what is done with is not there any more.
        self.is_over = is_last;
        self.cursor = page.next.or(self.cursor.take());
        Ok(())
    }

    async fn act(&mut self, letters: &[DeadLetter]) -> Result<()> {
        let ids = || letters.iter().map(|letter| letter.id.clone());
        let edited = match &mut self.action {
            Action::Edit(edit) => {
                letters.iter().filter_map(|letter| edit(letter).transpose()).collect::<Result<_>>()?
            }
            Action::Replay => ids().map(Replay::from).collect(),
            Action::Discard | Action::Count => Vec::new(),
        };
        if let Some(pace) = &self.pace {
            pace.wait().await;
        }
        let count = match self.action {
            Action::Count => letters.len(),
            Action::Discard => self.dead.discard(&ids().collect::<Vec<TaskId>>()).await?,
            Action::Edit(_) if edited.is_empty() => 0,
            Action::Edit(_) | Action::Replay => self.dead.put_back(&edited).await?,
        };
        self.count += count;
        if self.until >= Some(self.dead.client.clock().now()) {
            self.first.extend(ids());
        }
        if let Some(pace) = &mut self.pace {
            pace.used(count);
        }
        Ok(())
    }

    /// Leaves those that failed in the wanted way, if one is wanted.
    async fn of_kind(&self, letters: Vec<DeadLetter>) -> Result<Vec<DeadLetter>> {
        let Some(kind) = self.filter.kind else { return Ok(letters) };
        let Some(backend) = self.dead.client.backend() else {
            let text = "the kind of a failure is kept in the result backend, and there is none: set backend.url, or choose by reason";
            return Err(Error::new(ErrorKind::Unsupported, "dead letters", text));
        };
        if letters.is_empty() {
            return Ok(letters);
        }
        let ids: Vec<TaskId> = letters.iter().map(|letter| letter.id.clone()).collect();
        let records = in_time("load", backend.load(&ids)).await?;
        let of_kind = |(letter, record): (DeadLetter, Option<_>)| {
            let failure = record.and_then(|record: windlass_core::Record| record.failure);
            let found = failure.map(|failure| failure.kind).or(unread(&letter));
            (found == Some(kind)).then_some(letter)
        };
        Ok(letters.into_iter().zip(records).filter_map(of_kind).collect())
    }
}

/// The kind of what is no message is known without a record.
fn unread(letter: &DeadLetter) -> Option<FailureKind> {
    letter.content.is_err().then_some(FailureKind::Undecodable)
}
