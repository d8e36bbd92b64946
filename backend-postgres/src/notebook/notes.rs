use std::collections::HashMap;

use bytes::Bytes;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, Row as _};
use windlass_core::limits::batches;
use windlass_core::{Error, ErrorKind, Expected, Note, NoteChange, NoteKey, NotePage, Result, Retention, WriteOutcome};

use super::{ATTEMPTS, ITEMS};
use crate::connection::Work;
use crate::lane::Statement;
use crate::row::{arguments, lifetime};
use crate::store::{Store, distinct};

/// In the place of a version: nothing is there.
const ABSENT: i64 = -1;

impl Store {
    /// Reads notes; the answers are in the order of `keys`.
    pub(crate) async fn read_notes(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        let mut notes: Vec<Option<Note>> = vec![None; keys.len()];
        let all: Vec<usize> = (0..keys.len()).collect();
        for part in all.chunks(ITEMS) {
            let mut open = part.to_vec();
            while !open.is_empty() {
                let arguments = arguments("read", |arguments| add_keys(arguments, open.iter().map(|at| &keys[*at])))?;
                let rows = self.link.ask("read", Work::Read, Statement::new(&self.notebook.read, arguments)).await?;
                let mut left = Vec::new();
                for row in &rows {
                    let (place, note) = read(row).map_err(|error| not_understood("read", error))?;
                    let at = open[place];
                    match note {
                        Some(note) => notes[at] = Some(note),
                        None => left.push(at),
                    }
                }
                open = left;
            }
        }
        Ok(notes)
    }

    /// Lists notes of a shelf in the order of their names.
    pub(crate) async fn list_notes(&self, shelf: &str, after: Option<&str>, max: usize) -> Result<NotePage> {
        let max = max.min(ITEMS);
        if max == 0 {
            return Ok(NotePage::default());
        }
        // One more than is wanted, to know whether there are more.
        let arguments = arguments("list", |arguments| {
            arguments.add(shelf)?;
            arguments.add(after.unwrap_or_default())?;
            arguments.add(i64::try_from(max + 1)?)
        })?;
        let rows = self.link.ask("list", Work::Read, Statement::new(&self.notebook.list, arguments)).await?;
        page(&rows, max).map_err(|error| not_understood("list", error))
    }

    /// Makes changes; the answers are in the order of `changes`.
    pub(crate) async fn change_notes(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        let mut outcomes = Vec::with_capacity(changes.len());
        let parts = batches(changes, weight).into_iter().flat_map(|batch| batch.chunks(ITEMS));
        for round in parts.flat_map(|part| distinct(part, |change| &change.key)) {
            let made = self.change_round(round).await.map_err(|error| after(error, !outcomes.is_empty()))?;
            outcomes.extend(made);
        }
        Ok(outcomes)
    }

    /// Makes changes of different notes.
    async fn change_round(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        let mark = fastrand::i64(1..);
        let mut outcomes = vec![WriteOutcome::Conflict; changes.len()];
        let mut open: Vec<usize> = (0..changes.len()).collect();
        open.sort_unstable_by_key(|at| &changes[*at].key);
        for attempt in 0..ATTEMPTS {
            let arguments = change_arguments(changes, &open, mark)?;
            let statement = Statement::new(&self.notebook.write, arguments);
            let answer = self.link.try_to("write", Work::Write, statement).await;
            let answer = answer.map_err(|error| after(error, attempt > 0))?;
            let written = written(&answer.rows).map_err(|error| not_understood("write", error))?;
            let mut left = Vec::new();
            for at in open {
                let change = &changes[at];
                outcomes[at] = match (written.get(&(change.key.shelf(), change.key.name())), change.expected) {
                    (Some(_), _) | (None, Expected::Anything) if is_removal(change) => WriteOutcome::Written(0),
                    (Some(version), _) => WriteOutcome::Written(version.cast_unsigned()),
                    (None, Expected::Anything) => {
                        left.push(at);
                        continue;
                    }
                    // It may be its own work that it found, and that others have changed since.
                    (None, _) if answer.is_repeated => return Err(unknown()),
                    (None, _) => WriteOutcome::Conflict,
                };
            }
            if left.is_empty() {
                return Ok(outcomes);
            }
            open = left;
        }
        Err(self.link.at(Error::new(ErrorKind::Unknown, "write", "others write the same notes at the same time")))
    }
}

fn is_removal(change: &NoteChange) -> bool {
    change.value.is_none() || change.keep == Retention::None
}

fn weight(change: &NoteChange) -> usize {
    change.key.name().len() + change.value.as_ref().map_or(0, Bytes::len)
}

fn change_arguments(changes: &[NoteChange], chosen: &[usize], mark: i64) -> Result<PgArguments> {
    let chosen = || chosen.iter().map(|at| &changes[*at]);
    let expected = chosen().map(|change| match change.expected {
        Expected::Anything => None,
        Expected::Absent => Some(ABSENT),
        // No version is as great as that, or ever will be.
        Expected::Version(version) => Some(i64::try_from(version).unwrap_or(i64::MAX)),
    });
    let values = chosen().map(|change| change.value.as_deref().filter(|_| !is_removal(change)));
    let lifetimes = chosen().map(|change| if is_removal(change) { Some(0) } else { lifetime(change.keep) });
    arguments("write", |arguments| {
        add_keys(arguments, chosen().map(|change| &change.key))?;
        arguments.add(expected.collect::<Vec<_>>())?;
        arguments.add(values.collect::<Vec<_>>())?;
        arguments.add(lifetimes.collect::<Vec<_>>())?;
        arguments.add(mark)
    })
}

/// Adds the shelves and the names.
pub(super) fn add_keys<'a>(
    arguments: &mut PgArguments,
    keys: impl Iterator<Item = &'a NoteKey>,
) -> Result<(), sqlx::error::BoxDynError> {
    let (shelves, names): (Vec<&str>, Vec<&str>) = keys.map(|key| (key.shelf(), key.name())).unzip();
    arguments.add(shelves)?;
    arguments.add(names)
}

/// The place among those that were asked for, and the note unless it did not fit.
fn read(row: &PgRow) -> Result<(usize, Option<Note>), sqlx::error::BoxDynError> {
    let place = usize::try_from(row.try_get::<i64, _>(0)? - 1)?;
    let value: Option<Vec<u8>> = row.try_get(2)?;
    let version = row.try_get::<i64, _>(1)?.cast_unsigned();
    Ok((place, value.map(|value| Note { version, value: value.into() })))
}

fn page(rows: &[PgRow], max: usize) -> Result<NotePage, sqlx::error::BoxDynError> {
    let mut page = NotePage::default();
    for row in rows.iter().take(max) {
        let note =
            Note { version: row.try_get::<i64, _>(1)?.cast_unsigned(), value: row.try_get::<Vec<u8>, _>(2)?.into() };
        page.notes.push((row.try_get(0)?, note));
    }
    let seen = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(3))?;
    if usize::try_from(seen)? > page.notes.len() {
        page.next = page.notes.last().map(|(name, _)| name.clone());
    }
    Ok(page)
}

/// The versions of the notes that were written.
fn written(rows: &[PgRow]) -> Result<HashMap<(&str, &str), i64>, sqlx::Error> {
    rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?))).collect()
}

/// An error of a statement before which others of the same call may have changed something.
fn after(error: Error, others: bool) -> Error {
    match error.kind() {
        ErrorKind::Unavailable if others => Error::new(ErrorKind::Unknown, "write", error.message()).with_source(error),
        _ => error,
    }
}

fn unknown() -> Error {
    let text = "the answer was lost, and others have changed the notes since: whether they were written is not known";
    Error::new(ErrorKind::Unknown, "write", text)
}

pub(super) fn not_understood(operation: &'static str, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, operation, format!("not an answer of the tables of windlass: {error}"))
}
