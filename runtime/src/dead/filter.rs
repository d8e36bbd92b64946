use std::time::Duration;

use windlass_core::{Call, DeadLetter, Error, FailureKind, IntoDuration, Result, TaskName, Timestamp};

use super::DeadLetters;
use super::sweep::{Action, Sweep};

/// The greatest rate, in letters a second.
const RATE: f64 = 1_000_000.0;

/// Which dead letters: all, or those that meet every condition. Does nothing by itself.
///
/// What is wrong with a condition is told by [`Sweep::run`].
#[derive(Debug)]
#[must_use = "a selection does nothing until it is replayed, discarded or counted"]
pub struct Selection {
    pub(super) dead: DeadLetters,
    pub(super) filter: Filter,
    pub(super) after: Option<String>,
    pub(super) rate: Option<f64>,
    pub(super) error: Option<Error>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Filter {
    task: Option<TaskName>,
    reason: Option<String>,
    pub(super) kind: Option<FailureKind>,
    older: Option<Duration>,
    younger: Option<Duration>,
}

impl Filter {
    /// Whether a letter meets every condition but that of the kind.
    pub(super) fn fits(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let Self { task, reason, older, younger, kind: _ } = self;
        let age = now.since(letter.died_at);
        let is_task = |task: &TaskName| letter.content.as_ref().is_ok_and(|message| message.task == *task);
        task.as_ref().is_none_or(is_task)
            && reason.as_ref().is_none_or(|reason| letter.reason.contains(reason))
            && older.is_none_or(|older| age >= older)
            && younger.is_none_or(|younger| age < younger)
    }
}

impl Selection {
    pub(super) fn all(dead: DeadLetters) -> Self {
        Self { dead, filter: Filter::default(), after: None, rate: None, error: None }
    }

    fn set<T>(mut self, value: Result<T>, set: impl FnOnce(&mut Self, T)) -> Self {
        match value {
            Ok(value) => set(&mut self, value),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    fn span(self, field: &'static str, span: impl IntoDuration, set: impl FnOnce(&mut Self, Duration)) -> Self {
        let span = span.into_duration().map_err(|error| Error::new(error.kind(), field, error.message()));
        self.set(span, set)
    }

    /// Of this task.
    pub fn task(self, name: impl AsRef<str>) -> Self {
        self.set(TaskName::new(name), |selection, task| selection.filter.task = Some(task))
    }

    /// Whose reason contains this text.
    pub fn reason(mut self, text: impl Into<String>) -> Self {
        self.filter.reason = Some(text.into());
        self
    }

    /// That failed in this way. It is read from the records of the backend: of a task whose record is
    /// over, the kind is not known, and it is left out.
    pub fn kind(mut self, kind: FailureKind) -> Self {
        self.filter.kind = Some(kind);
        self
    }

    /// That died at least this long ago.
    pub fn older_than(self, age: impl IntoDuration) -> Self {
        self.span("older_than", age, |selection, age| selection.filter.older = Some(age))
    }

    /// That died less than this long ago.
    pub fn younger_than(self, age: impl IntoDuration) -> Self {
        self.span("younger_than", age, |selection, age| selection.filter.younger = Some(age))
    }

    /// That come after this place: [`Sweep::cursor`] of an earlier sweep, or [`DeadPage::next`] of a page.
    ///
    /// [`DeadPage::next`]: windlass_core::DeadPage::next
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        self.after = Some(cursor.into());
        self
    }

    /// At most so many a second, evenly spread; fractions are allowed. Without it as fast as it goes.
    pub fn rate(self, per_second: f64) -> Self {
        let rate = match per_second > 0.0 && per_second <= RATE {
            true => Ok(per_second),
            false => Err(Error::invalid("rate", per_second, format_args!("more than 0, at most {RATE} a second"))),
        };
        self.set(rate, |selection, rate| selection.rate = Some(rate))
    }

    /// Puts them back into their queue as they were.
    pub fn replay(self) -> Sweep {
        Sweep::new(self, Action::Replay)
    }

    /// Puts them back as `edit` says; what it answers `None` for stays among the dead letters.
    ///
    /// An edited call is checked as by [`DeadLetters::replay_edited`]: one that is wrong ends the sweep
    /// with an error that names its letter.
    pub fn replay_edited<O>(self, mut edit: impl FnMut(&DeadLetter) -> Option<Call<O>> + Send + 'static) -> Sweep {
        let dead = self.dead.clone();
        let edit = move |letter: &DeadLetter| edit(letter).map(|call| dead.edit(letter, call)).transpose();
        Sweep::new(self, Action::Edit(Box::new(edit)))
    }

    /// Removes them for good.
    pub fn discard(self) -> Sweep {
        Sweep::new(self, Action::Discard)
    }

    /// Counts them and changes nothing; as fast as it goes.
    pub fn count(self) -> Sweep {
        Sweep::new(Self { rate: None, ..self }, Action::Count)
    }
}
