//! The steps of a relay, each one statement.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sqlx::postgres::PgRow;
use sqlx::{Row as _, SqlStr};
use windlass_core::Result;
use windlass_core::limits::BATCH_ITEMS;

use super::Shared;
use super::row::{self, Refusal, Row};
use super::statements::STUCK_ITEMS;
use crate::error::failed;

/// Rows that this relay has, until it says what became of them or its claim runs out.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) kind: Kind,
    pub(super) claim: i64,
    /// When it was claimed last.
    pub(super) claimed: Instant,
    /// When its rows were read, and their delays with them.
    pub(super) read: Instant,
    /// How long its oldest row had waited then.
    pub(super) oldest: Duration,
    /// There may be more where it came from.
    pub(super) full: bool,
    /// To be published.
    pub(super) rows: Vec<Row>,
    /// In the broker, to be deleted.
    pub(super) done: Vec<i64>,
    /// To be set aside.
    pub(super) refused: Vec<Refusal>,
}

/// Which table the rows lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fresh,
    Stuck,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.refused.is_empty()
    }

    pub(super) fn last_seq(&self) -> Option<i64> {
        let refused = self.refused.iter().map(|refusal| refusal.seq);
        self.rows.iter().map(|row| row.seq).chain(refused).max()
    }
}

/// Takes the oldest free rows after the row `floor`.
pub(super) async fn claim(shared: &Shared, floor: i64) -> Result<Batch> {
    let claim = fastrand::i64(1..);
    let query = sqlx::query(shared.statements.claim.clone()).bind(floor).bind(shared.lease_us()).bind(claim);
    let rows = shared.session.run("claim", query).await?;
    read(Kind::Fresh, claim, &rows)
}

/// Takes refused rows whose pause is over.
pub(super) async fn claim_stuck(shared: &Shared) -> Result<Batch> {
    let claim = fastrand::i64(1..);
    let query = sqlx::query(shared.statements.claim_stuck.clone()).bind(claim);
    let rows = shared.session.run("claim", query).await?;
    read(Kind::Stuck, claim, &rows)
}

fn read(kind: Kind, claim: i64, rows: &[PgRow]) -> Result<Batch> {
    let now = Instant::now();
    let mut batch = Batch {
        kind,
        claim,
        claimed: now,
        read: now,
        oldest: Duration::ZERO,
        full: false,
        rows: Vec::with_capacity(rows.len()),
        done: Vec::new(),
        refused: Vec::new(),
    };
    let limit = if kind == Kind::Fresh { BATCH_ITEMS } else { STUCK_ITEMS };
    for row in rows {
        let read = row::read(row).map_err(|error| failed("claim", error))?;
        batch.oldest = batch.oldest.max(read.age);
        batch.full |= read.seen >= limit || read.seen > rows.len();
        match read.row {
            Ok(row) => batch.rows.push(row),
            Err(refusal) => batch.refused.push(refusal),
        }
    }
    // The order of what an update returns is not defined.
    batch.rows.sort_unstable_by_key(|row| row.seq);
    Ok(batch)
}

/// Claims the rest of a batch for another lease; what others have taken meanwhile is left to them.
pub(super) async fn renew(shared: &Shared, batch: &mut Batch) -> Result<()> {
    let seqs: Vec<i64> = batch.rows.iter().map(|row| row.seq).collect();
    let query = sqlx::query(shared.statements.renew.clone()).bind(seqs).bind(batch.claim).bind(shared.lease_us());
    let rows = shared.session.run("renew", query).await?;
    let held: Result<HashSet<i64>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    let held = held.map_err(|error| failed("renew", error))?;
    batch.rows.retain(|row| held.contains(&row.seq));
    batch.claimed = Instant::now();
    Ok(())
}

/// Gives rows back that were not published.
pub(super) async fn release(shared: &Shared, batch: &Batch) -> Result<()> {
    let seqs = batch.rows.iter().map(|row| row.seq).collect();
    on_rows(shared, "release", &shared.statements.release, seqs, batch.claim).await
}

/// Deletes what is in the broker.
pub(super) async fn delete(shared: &Shared, batch: &Batch) -> Result<()> {
    let statement = match batch.kind {
        Kind::Fresh => &shared.statements.delete,
        Kind::Stuck => &shared.statements.delete_stuck,
    };
    on_rows(shared, "delete", statement, batch.done.clone(), batch.claim).await
}

async fn on_rows(
    shared: &Shared,
    operation: &'static str,
    statement: &SqlStr,
    seqs: Vec<i64>,
    claim: i64,
) -> Result<()> {
    let query = sqlx::query(statement.clone()).bind(seqs).bind(claim);
    shared.session.run(operation, query).await.map(drop)
}

/// Puts what was refused where it can be seen, with the reason.
pub(super) async fn set_aside(shared: &Shared, batch: &Batch) -> Result<()> {
    let statement = match batch.kind {
        Kind::Fresh => &shared.statements.set_aside,
        Kind::Stuck => &shared.statements.explain_stuck,
    };
    let (seqs, reasons): (Vec<i64>, Vec<&str>) =
        batch.refused.iter().map(|refusal| (refusal.seq, refusal.reason.as_str())).unzip();
    let query = sqlx::query(statement.clone()).bind(seqs).bind(reasons).bind(batch.claim);
    shared.session.run("set aside", query).await.map(drop)
}
