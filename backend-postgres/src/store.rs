//! Saves, loads and forgets records.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{Arguments as _, Row as _};
use windlass_core::limits::{BATCH_ITEMS, batches};
use windlass_core::{Error, ErrorKind, Record, Result, SaveOutcome, TaskId};

use crate::connection::{Link, Work};
use crate::lane::Statement;
use crate::notebook;
use crate::row::{Columns, arguments, read, read_told};
use crate::statements::Statements;

/// The tables of one schema.
pub(crate) struct Store {
    pub(crate) link: Link,
    pub(crate) statements: Statements,
    pub(crate) notebook: notebook::Statements,
}

impl Store {
    /// Stores records; the answers are in the order of `records`.
    pub(crate) async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        let mut outcomes = Vec::with_capacity(records.len());
        for batch in batches(records, Record::weight) {
            for round in distinct(batch, |record| &record.id) {
                self.save_round(round, &mut outcomes).await?;
            }
        }
        Ok(outcomes)
    }

    /// Stores records of different tasks with one statement.
    async fn save_round(&self, records: &[Record], outcomes: &mut Vec<SaveOutcome>) -> Result<()> {
        let ids: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
        let mut order: Vec<usize> = (0..records.len()).collect();
        // Sorted by the bytes of the ids, whatever the order of the database is.
        order.sort_unstable_by(|one, other| ids[*one].cmp(&ids[*other]));
        let mut columns = Columns::with_capacity(records.len());
        for index in order {
            columns.push(&ids[index], &records[index]);
        }
        let sql = if columns.has_unkept() { &self.statements.save_any } else { &self.statements.save };
        let statement = Statement { sql: Arc::clone(sql), arguments: columns.arguments()? };
        let rows = self.link.ask("save", Work::Write, statement).await?;
        match passed(&rows)? {
            None => outcomes.extend(records.iter().map(|_| SaveOutcome::Saved)),
            Some(passed) => {
                let passed: HashSet<&str> = passed.iter().map(String::as_str).collect();
                let outcome = |id| if passed.contains(id) { SaveOutcome::Saved } else { SaveOutcome::Refused };
                outcomes.extend(ids.iter().map(|id| outcome(id.as_str())));
            }
        }
        Ok(())
    }

    /// Reads records; the answers are in the order of `ids`.
    pub(crate) async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        let mut answers = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH_ITEMS) {
            let rows = self.find("load", &self.statements.load, ids).await?;
            let found: HashMap<TaskId, Record> =
                rows.iter().map(|row| read(row).map(|record| (record.id.clone(), record))).collect::<Result<_>>()?;
            answers.extend(ids.iter().map(|id| found.get(id).cloned()));
        }
        Ok(answers)
    }

    /// Reads those that have ended, in any order. What cannot be read is an error of its own.
    pub(crate) async fn load_ended(&self, ids: &[TaskId]) -> Result<Vec<Result<Record>>> {
        Ok(self.find("wait", &self.statements.ended, ids).await?.iter().map(read).collect())
    }

    /// Reads those that are told and not kept, in any order.
    pub(crate) async fn load_told(&self, ids: &[TaskId]) -> Result<Vec<Result<Record>>> {
        Ok(self.find("wait", &self.statements.told, ids).await?.iter().map(read_told).collect())
    }

    async fn find(&self, operation: &'static str, sql: &Arc<str>, ids: &[TaskId]) -> Result<Vec<PgRow>> {
        self.link.ask(operation, Work::Read, by_ids(operation, sql, ids)?).await
    }

    /// Removes records.
    pub(crate) async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        for ids in ids.chunks(BATCH_ITEMS) {
            let forget = by_ids("forget", &self.statements.forget, ids)?;
            self.link.ask("forget", Work::Write, forget).await.map_err(|error| unavailable("forget", error))?;
        }
        Ok(())
    }

    /// Notes that somebody waits in the process of that name, for some milliseconds.
    pub(crate) async fn listen(&self, name: &str, lifetime: i64) -> Result<()> {
        let arguments = arguments("wait", |arguments| {
            arguments.add(name)?;
            arguments.add(lifetime)
        })?;
        let statement = Statement { sql: Arc::clone(&self.statements.listen), arguments };
        self.link.ask("wait", Work::Write, statement).await.map(|_| ())
    }
}

/// Of what can be done any number of times, a lost answer is no more than that.
pub(crate) fn unavailable(operation: &'static str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unknown => Error::new(ErrorKind::Unavailable, operation, error.message()).with_source(error),
        _ => error,
    }
}

fn by_ids(operation: &'static str, sql: &Arc<str>, ids: &[TaskId]) -> Result<Statement> {
    let ids: Vec<String> = ids.iter().map(TaskId::to_string).collect();
    let arguments = arguments(operation, |arguments| arguments.add(ids))?;
    Ok(Statement { sql: Arc::clone(sql), arguments })
}

/// The ids that have passed the guard; none if all have.
fn passed(rows: &[PgRow]) -> Result<Option<Vec<String>>> {
    let read = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get(0));
    read.map_err(|error| Error::new(ErrorKind::Internal, "save", error.to_string()))
}

/// Splits where a key comes again, because a statement can touch a row only once.
pub(crate) fn distinct<T, K: Eq + Hash>(items: &[T], key: impl Fn(&T) -> &K) -> Vec<&[T]> {
    let mut runs = Vec::with_capacity(1);
    let mut seen = HashSet::with_capacity(items.len());
    let mut start = 0;
    for (index, item) in items.iter().enumerate() {
        if !seen.insert(key(item)) {
            runs.push(&items[start..index]);
            seen.clear();
            seen.insert(key(item));
            start = index;
        }
    }
    runs.push(&items[start..]);
    runs
}
