use bytes::Bytes;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use windlass_core::{Error, Message, Result, Timestamp};

use super::stats::count;
use super::{Outbox, row};
use crate::error::failed;

/// A message that the broker has refused, or that is none.
///
/// It is tried again at intervals, 5 s doubled up to 10 min, until the broker takes it or somebody
/// removes it.
#[derive(Debug, Clone)]
pub struct StuckRow {
    /// The number of the row, for [`Outbox::retry`] and [`Outbox::remove`].
    pub seq: i64,
    /// The task id, as it was written.
    pub id: String,
    /// The queue, as it was written.
    pub queue: String,
    /// When it was written.
    pub written_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub reason: String,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// The message; or why these bytes are none, and the bytes.
    pub content: Result<Message, (String, Bytes)>,
}

/// Some stuck rows and where the next page begins.
#[derive(Debug, Clone, Default)]
pub struct StuckPage {
    /// The rows, the oldest first.
    pub rows: Vec<StuckRow>,
    /// Pass it to get the next page; `None` at the end.
    pub next: Option<String>,
}

impl Outbox {
    /// Lists what the broker has refused, the oldest first, at most `max` (and 4 MiB of messages);
    /// `cursor` is [`StuckPage::next`] of the page before.
    ///
    /// # Errors
    /// `Invalid` for a cursor that is none, `Unavailable` if Postgres cannot be reached.
    pub async fn stuck(&self, cursor: Option<&str>, max: usize) -> Result<StuckPage> {
        let after: i64 = match cursor {
            None => i64::MIN,
            Some(text) => text
                .parse()
                .map_err(|_| Error::invalid("cursor", format_args!("{text:?}"), "what the page before has given"))?,
        };
        let max = i64::try_from(max.clamp(1, 1000)).unwrap_or(1000);
        let query = sqlx::query(self.0.statements.list_stuck.clone()).bind(after).bind(max);
        let rows = self.0.session.run("stuck", query).await?;
        let rows: Result<Vec<StuckRow>, sqlx::Error> = rows.iter().map(read).collect();
        let rows = rows.map_err(|error| failed("stuck", error))?;
        let next = rows.last().map(|row| row.seq.to_string());
        Ok(StuckPage { rows, next })
    }

    /// Tries stuck rows again at once, instead of after their pause; answers how many there were.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` if Postgres cannot be reached; the call can be repeated.
    pub async fn retry(&self, seqs: &[i64]) -> Result<u64> {
        let query = sqlx::query(self.0.statements.retry.clone()).bind(seqs);
        let rows = self.0.session.run("retry", query).await?;
        count(&rows, 0).map_err(|error| failed("retry", error))
    }

    /// Removes stuck rows; their tasks will never run. Answers how many there were.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` if Postgres cannot be reached; the call can be repeated.
    pub async fn remove(&self, seqs: &[i64]) -> Result<u64> {
        let query = sqlx::query(self.0.statements.remove.clone()).bind(seqs);
        Ok(self.0.session.run("remove", query).await?.len() as u64)
    }
}

fn read(row: &PgRow) -> Result<StuckRow, sqlx::Error> {
    let content = match row::decode(row)? {
        Ok((message, _)) => Ok(message),
        Err(reason) => Err((reason, row.try_get::<Vec<u8>, _>("body")?.into())),
    };
    Ok(StuckRow {
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        queue: row.try_get("queue")?,
        written_at: Timestamp::from_micros(row.try_get("written_us")?),
        attempts: u32::try_from(row.try_get::<i32, _>("attempts")?).unwrap_or(0),
        reason: row.try_get("reason")?,
        retry_at: Timestamp::from_micros(row.try_get("retry_us")?),
        content,
    })
}
