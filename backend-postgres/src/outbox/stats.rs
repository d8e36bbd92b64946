use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use windlass_core::Result;

use super::{Outbox, row};
use crate::error::failed;

/// How an outbox is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OutboxStats {
    /// Committed messages that are not in the broker yet; counted up to 100,000.
    pub pending: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Messages that the broker has refused; counted up to 100,000.
    pub stuck: u64,
}

impl Outbox {
    /// Looks how much waits and for how long. Costs the same however much there is.
    ///
    /// # Errors
    /// `Unavailable` if Postgres cannot be reached.
    pub async fn stats(&self) -> Result<OutboxStats> {
        let rows = self.0.session.run("stats", sqlx::query(self.0.statements.stats.clone())).await?;
        read_stats(&rows).map_err(|error| failed("stats", error))
    }
}

fn read_stats(rows: &[PgRow]) -> Result<OutboxStats, sqlx::Error> {
    let oldest = rows.first().map(|row| row.try_get::<Option<i64>, _>(2)).transpose()?.flatten();
    Ok(OutboxStats { pending: count(rows, 0)?, stuck: count(rows, 1)?, oldest: oldest.map(row::micros) })
}

/// The number in that column of the only row.
pub(super) fn count(rows: &[PgRow], column: usize) -> Result<u64, sqlx::Error> {
    let Some(row) = rows.first() else { return Ok(0) };
    row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or(0))
}
