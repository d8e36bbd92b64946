//! Saves, loads and removes records.

use std::collections::HashSet;

use bytes::Bytes;
use redis::Cmd;
use windlass_core::limits::{self, BATCH_ITEMS};
use windlass_core::{Error, ErrorKind, Record, Result, Retention, SaveOutcome, State, TaskId};

use crate::connection::Link;
use crate::keys::Keys;
use crate::scripts::{self, Scripts};

/// Messages to waiters that are larger come without the record, which is then loaded.
pub(crate) const LARGEST_PUSH: usize = 64 * 1024;

/// What the methods of the backend do.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) scripts: Scripts,
}

impl Store {
    /// Stores records, each only if it may replace what is there.
    pub(crate) async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        let mut outcomes = Vec::with_capacity(records.len());
        for batch in limits::batches(records, Record::weight).into_iter().flat_map(distinct) {
            let refused = self.save_batch(batch).await?;
            let start = outcomes.len();
            outcomes.resize(start + batch.len(), SaveOutcome::Saved);
            for number in refused {
                outcomes[start + number - 1] = SaveOutcome::Refused;
            }
        }
        Ok(outcomes)
    }

    async fn save_batch(&self, records: &[Record]) -> Result<Vec<usize>> {
        let call = self.save_call(records);
        let send = |mut connection| async move { scripts::run(&self.scripts.save, &call, &mut connection).await };
        let refused: Vec<usize> = self.link.ask("save", true, send).await?;
        match refused.iter().find(|number| !(1..=records.len()).contains(*number)) {
            Some(number) => Err(Error::new(ErrorKind::Internal, "save", format!("no record has number {number}"))),
            None => Ok(refused),
        }
    }

    fn save_call(&self, records: &[Record]) -> Cmd {
        let rows: Vec<Row<'_>> = records.iter().map(Row::of).collect();
        let apart = || rows.iter().zip(1..).filter_map(|(row, number)| Some((number, row, row.apart?)));
        let bytes = rows.iter().map(|row| 160 + row.bytes.len() + row.apart.map_or(0, |value| 160 + value.0.len()));
        let extra = apart().count();
        let mut call = scripts::call(
            &self.scripts.save,
            1 + rows.len() + extra,
            4 + 2 * rows.len() + 3 * extra,
            bytes.sum::<usize>(),
        );
        call.arg(self.keys.waiters());
        for record in records {
            call.arg(self.keys.status(&record.id));
        }
        for (_, row, _) in apart() {
            call.arg(self.keys.value(row.id));
        }
        call.arg(rows.len()).arg(self.keys.id_offset()).arg(self.keys.inbox_prefix()).arg(LARGEST_PUSH);
        for row in &rows {
            call.arg(&row.bytes).arg(row.lifetime);
        }
        for (number, _, (value, lifetime)) in apart() {
            call.arg::<usize>(number).arg(&value[..]).arg(lifetime);
        }
        call
    }

    /// Reads records.
    pub(crate) async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        let mut records = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH_ITEMS) {
            let keys: Vec<String> = ids.iter().map(|id| self.keys.status(id)).collect();
            let found = self.mget("load", &keys).await?;
            for (id, bytes) in ids.iter().zip(found) {
                records.push(bytes.map(|bytes| decode(id, &bytes)).transpose()?);
            }
        }
        self.add_results(&mut records).await?;
        Ok(records)
    }

    /// Adds the results that are kept apart.
    async fn add_results(&self, records: &mut [Option<Record>]) -> Result<()> {
        let lacks = |record: &&mut Record| record.state == State::Succeeded && record.result.is_none();
        let mut bare: Vec<&mut Record> = records.iter_mut().flatten().filter(lacks).collect();
        for bare in bare.chunks_mut(BATCH_ITEMS) {
            let keys: Vec<String> = bare.iter().map(|record| self.keys.value(&record.id)).collect();
            for (record, value) in bare.iter_mut().zip(self.mget("load", &keys).await?) {
                record.result = value;
            }
        }
        Ok(())
    }

    /// The strings under these keys.
    pub(crate) async fn mget(&self, operation: &'static str, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = redis::cmd("MGET");
        call.arg(keys);
        let send = |mut connection| async move { call.query_async(&mut connection).await };
        let values: Vec<Option<Bytes>> = self.link.ask(operation, false, send).await?;
        if values.len() == keys.len() {
            return Ok(values);
        }
        Err(Error::new(ErrorKind::Internal, operation, format!("{} answers for {} keys", values.len(), keys.len())))
    }

    /// Removes records.
    pub(crate) async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        for ids in ids.chunks(BATCH_ITEMS) {
            let mut call = redis::cmd("UNLINK");
            for id in ids {
                call.arg(self.keys.status(id)).arg(self.keys.value(id));
            }
            let send = |mut connection| async move { call.query_async(&mut connection).await };
            // Removing again what is gone changes nothing, so a lost answer is no more than that.
            self.link.ask::<(), _>("forget", false, send).await?;
        }
        Ok(())
    }
}

/// A record as the script takes it.
struct Row<'a> {
    id: &'a TaskId,
    bytes: Vec<u8>,
    lifetime: i64,
    /// The result and its lifetime, if it ends before the record does.
    apart: Option<(&'a Bytes, i64)>,
}

impl<'a> Row<'a> {
    fn of(record: &'a Record) -> Self {
        let apart = record.result.as_ref().filter(|_| record.result_ttl < record.status_ttl);
        let bytes = if apart.is_some() { record.encode_status() } else { record.encode() };
        let apart = apart.map(|result| (result, lifetime(record.result_ttl)));
        Self { id: &record.id, bytes, lifetime: lifetime(record.status_ttl), apart }
    }
}

/// A retention as the scripts take it.
pub(crate) fn lifetime(retention: Retention) -> i64 {
    /// About 30,000 years; Redis refuses what ends after the end of its clock.
    const LONGEST: i64 = 1_000_000_000_000_000;
    match retention {
        Retention::None => 0,
        Retention::Forever => -1,
        Retention::For(span) => i64::try_from(span.as_millis()).unwrap_or(LONGEST).clamp(1, LONGEST),
    }
}

/// Splits where an id comes again, because the script reads what is stored only once a call.
fn distinct(records: &[Record]) -> Vec<&[Record]> {
    let mut runs = Vec::with_capacity(1);
    let mut seen = HashSet::with_capacity(records.len());
    let mut start = 0;
    for (index, record) in records.iter().enumerate() {
        if !seen.insert(&record.id) {
            runs.push(&records[start..index]);
            seen.clear();
            seen.insert(&record.id);
            start = index;
        }
    }
    runs.push(&records[start..]);
    runs
}

/// The record of a task from what is stored.
pub(crate) fn decode(id: &TaskId, bytes: &Bytes) -> Result<Record> {
    Record::decode(id.clone(), bytes).map_err(|error| {
        Error::new(ErrorKind::Codec, "load", error.to_string()).with_task(id.clone()).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(lifetime(Retention::None), 0);
        assert_eq!(lifetime(Retention::Forever), -1);
        assert_eq!(lifetime(Retention::For(Duration::from_secs(2))), 2000);
        assert_eq!(lifetime(Retention::For(Duration::from_nanos(1))), 1);
        assert_eq!(lifetime(Retention::For(Duration::MAX)), 1_000_000_000_000_000);
    }
}
