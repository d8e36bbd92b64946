use std::time::{Duration, Instant};

use super::TARGET;
use super::table::{Batch, Kind};

/// Rows that wait longer than this are worth a warning.
const LONG: Duration = Duration::from_secs(60);

/// Tells what a relay does, without flooding the log.
#[derive(Debug, Default)]
pub(super) struct Log {
    long: Every,
    refused: Every,
}

/// When a line was written last.
#[derive(Debug, Default)]
struct Every(Option<Instant>);

impl Every {
    fn is_due(&mut self, span: Duration) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= span);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

impl Log {
    pub(super) fn published(&mut self, batch: &Batch, new: u64, known: u64) {
        let oldest = batch.oldest + batch.read.elapsed();
        let oldest_ms = u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(target: TARGET, new, known, oldest_ms, "published");
        if batch.kind == Kind::Fresh && oldest > LONG && self.long.is_due(LONG) {
            tracing::warn!(target: TARGET, oldest_ms, "written messages wait long: relays or the broker were away or are slow");
        }
    }

    pub(super) fn refused(&mut self, batch: &Batch) {
        let count = batch.refused.len();
        let Some(first) = batch.refused.first() else { return };
        let again = batch.kind == Kind::Stuck;
        if !again && self.refused.is_due(Duration::from_secs(1)) {
            tracing::warn!(target: TARGET, count, row = first.seq, reason = first.reason, "refused; kept as stuck");
        } else {
            tracing::debug!(target: TARGET, count, row = first.seq, reason = first.reason, again, "refused");
        }
    }
}
