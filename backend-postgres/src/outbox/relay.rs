use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use windlass_core::{Broker, ErrorKind, Result};

use super::bell::{Bell, Heard};
use super::log::Log;
use super::pause::Pause;
use super::publish::{Published, publish};
use super::table::{self, Batch, Kind};
use super::{Shared, TARGET};

/// How long the rows before those that were claimed last are not looked at, while there is a backlog.
const SWEEP: Duration = Duration::from_secs(1);
/// How long giving back unpublished rows may hold up a shutdown.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// Publishes what was written to an [`Outbox`](super::Outbox).
///
/// Any number of relays can run, in any number of processes; each takes other rows.
#[must_use = "a relay does nothing until it is run"]
pub struct Relay {
    shared: Arc<Shared>,
    broker: Arc<dyn Broker>,
    bell: Bell,
    /// The last look was taken because nobody had rung for a while.
    polled: bool,
    pause: Pause,
    held: Option<Batch>,
    /// Rows up to here were taken not long ago.
    floor: i64,
    swept: Instant,
    /// When refused rows are looked at.
    stuck_at: Instant,
    /// The batch before was of refused rows.
    was_stuck: bool,
    log: Log,
    report: RelayReport,
}

/// What a relay has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RelayReport {
    /// Messages that the broker took.
    pub published: u64,
    /// Messages that the broker had already, from this relay or from another.
    pub duplicates: u64,
    /// Attempts that the broker refused.
    pub refused: u64,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("outbox", &self.shared).field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl fmt::Display for RelayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} published", self.published)?;
        if self.duplicates > 0 {
            write!(f, ", {} known already", self.duplicates)?;
        }
        if self.refused > 0 {
            write!(f, ", {} refused", self.refused)?;
        }
        Ok(())
    }
}

/// What a relay does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// There may be more.
    Again,
    /// Wait until something is written.
    Wait,
    /// Wait this long for the end of an outage.
    Pause(Duration),
    End,
}

impl Relay {
    pub(super) fn new(shared: Arc<Shared>, broker: Arc<dyn Broker>) -> Self {
        let bell = Bell::new(Arc::clone(&shared));
        let now = Instant::now();
        Self {
            shared,
            broker,
            bell,
            polled: false,
            pause: Pause::default(),
            held: None,
            floor: 0,
            swept: now,
            stuck_at: now,
            was_stuck: false,
            log: Log::default(),
            report: RelayReport::default(),
        }
    }

    /// Publishes until `shutdown` ends; the batch under way is ended first. During an outage of the
    /// broker or of Postgres it waits and tries again. It also ends when one of them was closed.
    ///
    /// # Cancel safety
    /// If the future is dropped, nothing is lost: what it had claimed is published by the relay
    /// that looks first when the claim has run out.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> RelayReport {
        tracing::info!(target: TARGET, schema = self.shared.config.schema, "relay started");
        let mut shutdown = pin!(shutdown);
        loop {
            let step = self.step().await;
            let next = self.judge(step);
            if next == Next::End {
                break;
            }
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = self.rest(&next) => {}
            }
        }
        self.give_back().await;
        tracing::info!(target: TARGET, report = %self.report, "relay stopped");
        self.report
    }

    /// Carries one batch as far as it goes.
    async fn step(&mut self) -> Result<Next> {
        if self.held.is_none() {
            self.held = self.claim().await?;
        }
        let Some(mut batch) = self.held.take() else {
            return Ok(if Instant::now() >= self.stuck_at { Next::Again } else { Next::Wait });
        };
        let settled = self.settle(&mut batch).await;
        if let Err(error) = settled {
            self.held = Some(batch);
            return Err(error);
        }
        // What a full batch leaves behind may be much; what comes after a short one rings.
        let swept = batch.kind == Kind::Fresh && !batch.full && self.floor == 0;
        Ok(if swept { Next::Wait } else { Next::Again })
    }

    /// Takes the next rows: now and then refused ones, else the oldest.
    async fn claim(&mut self) -> Result<Option<Batch>> {
        let now = Instant::now();
        // Many that are stuck take turns with the others.
        let turn = !std::mem::take(&mut self.was_stuck);
        if turn && now >= self.stuck_at {
            let batch = table::claim_stuck(&self.shared).await?;
            self.stuck_at = if batch.full { now } else { now + self.shared.config.poll };
            if !batch.is_empty() {
                self.was_stuck = true;
                return Ok(Some(batch));
            }
        }
        loop {
            if now.duration_since(self.swept) > SWEEP {
                self.floor = 0;
            }
            if self.floor == 0 {
                self.swept = now;
            }
            let batch = table::claim(&self.shared, self.floor).await?;
            let began_above = std::mem::replace(&mut self.floor, batch.last_seq().filter(|_| batch.full).unwrap_or(0));
            if !batch.is_empty() {
                if std::mem::take(&mut self.polled) {
                    self.bell.doubt();
                }
                return Ok(Some(batch));
            }
            if began_above == 0 {
                return Ok(None);
            }
        }
    }

    /// Publishes, then tells the table; what is not done yet stays in the batch.
    async fn settle(&mut self, batch: &mut Batch) -> Result<()> {
        let lease = self.shared.config.lease;
        let mut outage = None;
        if batch.kind == Kind::Fresh && !batch.rows.is_empty() && batch.claimed.elapsed() > lease / 2 {
            table::renew(&self.shared, batch).await?;
        }
        if !batch.rows.is_empty() {
            let rows = std::mem::take(&mut batch.rows);
            let published = publish(&*self.broker, rows, batch.read, lease).await;
            self.count(batch, &published);
            outage = published.outage;
            batch.done.extend(published.done);
            batch.refused.extend(published.refused);
            // The next attempt at refused rows is planned already.
            batch.rows = if batch.kind == Kind::Fresh { published.left } else { Vec::new() };
        }
        if !batch.done.is_empty() {
            table::delete(&self.shared, batch).await?;
            batch.done.clear();
        }
        if !batch.refused.is_empty() {
            table::set_aside(&self.shared, batch).await?;
            self.log.refused(batch);
            batch.refused.clear();
        }
        outage.map_or(Ok(()), Err)
    }

    fn count(&mut self, batch: &Batch, published: &Published) {
        let new = published.done.len() as u64 - published.duplicates;
        self.report.published += new;
        self.report.duplicates += published.duplicates;
        self.report.refused += published.refused.len() as u64;
        if !published.done.is_empty() {
            self.log.published(batch, new, published.duplicates);
        }
    }

    fn judge(&mut self, step: Result<Next>) -> Next {
        match step {
            Ok(next) => {
                if self.pause.failures() > 0 {
                    tracing::info!(target: TARGET, failures = self.pause.failures(), "the relay goes on");
                    self.pause.reset();
                }
                next
            }
            Err(error) if error.kind() == ErrorKind::Closed => {
                tracing::info!(target: TARGET, %error, "the relay ends");
                Next::End
            }
            Err(error) => {
                if self.pause.is_news() {
                    let waiting = self.held.as_ref().map_or(0, |batch| batch.rows.len());
                    tracing::warn!(target: TARGET, %error, waiting, "cannot relay; trying again");
                }
                Next::Pause(self.pause.next())
            }
        }
    }

    async fn rest(&mut self, next: &Next) {
        match next {
            Next::Again | Next::End => {}
            Next::Pause(span) => sleep(*span).await,
            Next::Wait => {
                let heard = self.bell.wait(self.shared.config.poll).await;
                self.polled = heard == Heard::Nothing;
                if heard == Heard::Retry {
                    self.stuck_at = Instant::now();
                }
            }
        }
    }

    /// Lets others have at once what was not published.
    async fn give_back(&mut self) {
        let Some(batch) = self.held.take().filter(|batch| batch.kind == Kind::Fresh && !batch.rows.is_empty()) else {
            return;
        };
        let released = timeout(GIVE_BACK, table::release(&self.shared, &batch)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::debug!(target: TARGET, waiting = batch.rows.len(), "rows are free when their claim runs out");
        }
    }
}
