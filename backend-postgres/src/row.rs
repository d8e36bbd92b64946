//! Between records and rows.

use bytes::Bytes;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, Row as _};
use windlass_core::{Error, ErrorKind, Record, Result, Retention, State, TaskId, Timestamp, Token};

/// The records of one statement, column by column, in the order of their ids.
#[derive(Default)]
pub(crate) struct Columns<'a> {
    ids: Vec<&'a str>,
    tokens: Vec<i64>,
    states: Vec<&'static str>,
    attempts: Vec<i64>,
    times: Vec<i64>,
    failures: Vec<Option<String>>,
    results: Vec<Option<&'a [u8]>>,
    lifetimes: Vec<Option<i64>>,
    result_lifetimes: Vec<Option<i64>>,
    letters: Vec<Option<Vec<u8>>>,
    /// Whether a record is not kept, or not with its result.
    has_unkept: bool,
}

impl<'a> Columns<'a> {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self {
            ids: Vec::with_capacity(count),
            tokens: Vec::with_capacity(count),
            states: Vec::with_capacity(count),
            attempts: Vec::with_capacity(count),
            times: Vec::with_capacity(count),
            failures: Vec::with_capacity(count),
            results: Vec::with_capacity(count),
            lifetimes: Vec::with_capacity(count),
            result_lifetimes: Vec::with_capacity(count),
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, id: &'a str, record: &'a Record) {
        let unkept = record.status_ttl == Retention::None || record.result_ttl == Retention::None;
        if unkept && !self.has_unkept {
            self.has_unkept = true;
            self.letters = vec![None; self.ids.len()];
        }
        if self.has_unkept {
            // Of what is stored as a whole, nothing has to be told.
            let told = record.status_ttl == Retention::None || record.result.is_some();
            let told = unkept && told && record.state.is_final();
            self.letters.push(told.then(|| record.encode()));
        }
        let result = record.result.as_deref().filter(|_| !unkept);
        let ends_first = result.is_some() && record.result_ttl < record.status_ttl;
        self.ids.push(id);
        self.tokens.push(record.token.0.cast_signed());
        self.states.push(record.state.as_str());
        self.attempts.push(record.attempt.into());
        self.times.push(record.at.as_micros());
        self.failures.push(record.failure.as_ref().and_then(|failure| serde_json::to_string(failure).ok()));
        self.results.push(result);
        self.lifetimes.push(lifetime(record.status_ttl));
        self.result_lifetimes.push(lifetime(record.result_ttl).filter(|_| ends_first));
    }

    /// Whether it takes the statement that can tell what is not kept.
    pub(crate) fn has_unkept(&self) -> bool {
        self.has_unkept
    }

    pub(crate) fn arguments(self) -> Result<PgArguments> {
        let has_unkept = self.has_unkept;
        let fill = |arguments: &mut PgArguments| {
            arguments.add(self.ids)?;
            arguments.add(self.tokens)?;
            arguments.add(self.states)?;
            arguments.add(self.attempts)?;
            arguments.add(self.times)?;
            arguments.add(self.failures)?;
            arguments.add(self.results)?;
            arguments.add(self.lifetimes)?;
            arguments.add(self.result_lifetimes)?;
            if has_unkept { arguments.add(self.letters) } else { Ok(()) }
        };
        arguments("save", fill)
    }
}

/// Values for a statement.
pub(crate) fn arguments(
    operation: &'static str,
    fill: impl FnOnce(&mut PgArguments) -> Result<(), BoxDynError>,
) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    match fill(&mut arguments) {
        Ok(()) => Ok(arguments),
        Err(error) => Err(Error::new(ErrorKind::Internal, operation, format!("cannot encode: {error}"))),
    }
}

/// A retention in milliseconds, none for ever.
pub(crate) fn lifetime(retention: Retention) -> Option<i64> {
    /// About 10,000 years; the server's time ends some 290,000 years from now.
    const LONGEST: i64 = 315_576_000_000_000;
    match retention {
        Retention::None => Some(0),
        Retention::Forever => None,
        Retention::For(span) => Some(i64::try_from(span.as_millis()).unwrap_or(LONGEST).clamp(1, LONGEST)),
    }
}

/// The record in a row.
pub(crate) fn read(row: &PgRow) -> Result<Record> {
    let id = id(row)?;
    columns(row, id.clone()).map_err(|error| not_a_record(error).with_task(id))
}

fn id(row: &PgRow) -> Result<TaskId> {
    row.try_get(0).map_err(|error| not_a_record(error.into())).and_then(|id: &str| TaskId::new(id))
}

fn not_a_record(error: BoxDynError) -> Error {
    Error::new(ErrorKind::Codec, "load", format!("not a record: {error}"))
}

fn columns(row: &PgRow, id: TaskId) -> Result<Record, BoxDynError> {
    let state: &str = row.try_get(2)?;
    let failure: Option<&str> = row.try_get(5)?;
    let result: Option<Vec<u8>> = row.try_get(6)?;
    Ok(Record {
        id,
        token: Token(row.try_get::<i64, _>(1)?.cast_unsigned()),
        state: State::from_name(state).ok_or_else(|| format!("the state {state:?} is unknown"))?,
        attempt: u32::try_from(row.try_get::<i64, _>(3)?)?,
        at: Timestamp::from_micros(row.try_get(4)?),
        result: result.map(Bytes::from),
        failure: failure.map(serde_json::from_str).transpose()?,
        status_ttl: Retention::Forever,
        result_ttl: Retention::Forever,
    })
}

/// The record that is told and not kept, in a row.
pub(crate) fn read_told(row: &PgRow) -> Result<Record> {
    let id = id(row)?;
    let bytes: Vec<u8> = row.try_get(1).map_err(|error| not_a_record(error.into()))?;
    Record::decode(id.clone(), &bytes.into()).map_err(|error| not_a_record(error.into()).with_task(id))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(lifetime(Retention::None), Some(0));
        assert_eq!(lifetime(Retention::Forever), None);
        assert_eq!(lifetime(Retention::For(Duration::from_secs(2))), Some(2000));
        assert_eq!(lifetime(Retention::For(Duration::from_nanos(1))), Some(1));
        assert_eq!(lifetime(Retention::For(Duration::MAX)), Some(315_576_000_000_000));
    }
}
