//! Runs statements: which connections, how often again, how long at most.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgRow;
use tokio::time::{Instant, sleep};
use windlass_core::{Error, ErrorKind, Result};

use crate::config::PostgresBackendConfig;
use crate::error::Reaction;
use crate::lane::{Failure, Lane, Statement};
use crate::lent::Lent;
use crate::opener::Opener;
use crate::thread::Spawner;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a statement is repeated that others were in the way of.
const REPEATS: u32 = 5;
/// Connections that only read, so that nothing that is stored waits behind what is looked up.
const READERS: usize = 2;
/// Connections that write, beside the pool of an application.
const WRITERS: usize = 2;

/// What a statement is for; each kind has connections of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Read,
    Write,
}

/// What a statement has answered.
pub(crate) struct Answer {
    pub(crate) rows: Vec<PgRow>,
    /// It was sent before, and nobody knows what became of that.
    pub(crate) is_repeated: bool,
}

/// The connections of one backend.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) spawner: Spawner,
    lanes: Arc<Lanes>,
}

struct Lanes {
    opener: Opener,
    address: String,
    read: Lane,
    write: Lane,
    closed: AtomicBool,
}

impl Link {
    /// Connections of our own, opened when they are needed.
    pub(crate) fn new(spawner: Spawner, config: PostgresBackendConfig) -> Result<Self> {
        // One more is for the listener.
        let writers = usize::try_from(config.max_connections).unwrap_or(usize::MAX).saturating_sub(READERS + 1).max(1);
        let opener = Opener::new(config)?;
        let read = Lane::own(opener.clone(), READERS);
        Ok(Self::of(spawner, opener, read, writers))
    }

    /// Reads over the application's connections, and writes over a few of our own, so that results
    /// are never kept waiting by the application's queries, or written inside a transaction that
    /// somebody left open.
    pub(crate) fn beside(spawner: Spawner, pool: PgPool, config: PostgresBackendConfig) -> Self {
        let opener = Opener::beside(&pool, config);
        let read = Lane::Lent(Lent { pool, pooler: opener.config.pooler });
        Self::of(spawner, opener, read, WRITERS)
    }

    fn of(spawner: Spawner, opener: Opener, read: Lane, writers: usize) -> Self {
        let (address, write) = (opener.address(), Lane::own(opener.clone(), writers));
        let lanes = Lanes { opener, address, read, write, closed: AtomicBool::new(false) };
        Self { spawner, lanes: Arc::new(lanes) }
    }

    pub(crate) fn opener(&self) -> &Opener {
        &self.lanes.opener
    }

    pub(crate) fn config(&self) -> &PostgresBackendConfig {
        &self.lanes.opener.config
    }

    /// Runs a statement that is harmless to repeat. Goes on if the caller is dropped, so that no
    /// connection is left with half an answer.
    pub(crate) async fn ask(&self, operation: &'static str, work: Work, statement: Statement) -> Result<Vec<PgRow>> {
        self.try_to(operation, work, statement).await.map(|answer| answer.rows)
    }

    /// As [`Link::ask`], for a statement that answers otherwise when it is repeated.
    pub(crate) async fn try_to(&self, operation: &'static str, work: Work, statement: Statement) -> Result<Answer> {
        if self.is_closed() {
            return Err(closed(operation));
        }
        let lanes = Arc::clone(&self.lanes);
        match self.spawner.finish(async move { lanes.persist(operation, work, statement).await }).await {
            Some(Err(_)) | None if self.is_closed() => Err(closed(operation)),
            None => Err(closed(operation)),
            Some(answer) => answer.map_err(|error| self.at(error)),
        }
    }

    /// Says which server an error is about.
    pub(crate) fn at(&self, error: Error) -> Error {
        error.with("postgres", &self.lanes.address)
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self) {
        self.lanes.closed.store(true, Ordering::SeqCst);
        self.lanes.read.clear();
        self.lanes.write.clear();
    }

    fn is_closed(&self) -> bool {
        self.lanes.closed.load(Ordering::SeqCst)
    }
}

impl Lanes {
    async fn persist(&self, operation: &'static str, work: Work, statement: Statement) -> Result<Answer> {
        let begin = Instant::now();
        let limit = self.opener.config.operation_timeout;
        let lane = if work == Work::Read { &self.read } else { &self.write };
        let (mut repeats, mut reconnects, mut uncertain) = (0, 0, false);
        loop {
            let failure = match lane.once(operation, statement.clone(), begin + limit).await {
                Ok(rows) => return Ok(Answer { rows, is_repeated: uncertain }),
                Err(failure) => failure,
            };
            uncertain |= failure.error.kind() == ErrorKind::Unknown;
            let pause = match failure.reaction {
                Reaction::Repeat if repeats < REPEATS => {
                    repeats += 1;
                    Duration::from_millis(5 << repeats).mul_f64(fastrand::f64())
                }
                // Half of the time, because the statement itself needs some too.
                Reaction::Reconnect if begin.elapsed() < limit / 2 && (reconnects == 0 || is_away(&failure)) => {
                    reconnects += 1;
                    if reconnects == 1 { Duration::ZERO } else { pause(reconnects) }
                }
                _ => return Err(named(operation, failure.error, uncertain && work == Work::Write)),
            };
            tracing::debug!(target: "windlass::backend::postgres", "{}; trying again", failure.error);
            sleep(pause).await;
        }
    }
}

/// Whether the server may come back any moment; a standby, for example, stays one.
fn is_away(failure: &Failure) -> bool {
    matches!(failure.error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown)
}

/// Whether a lost answer matters depends on all attempts, and on what they were for.
fn named(operation: &'static str, error: Error, uncertain: bool) -> Error {
    let kind = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Unknown if uncertain => ErrorKind::Unknown,
        ErrorKind::Unknown => ErrorKind::Unavailable,
        _ => return error,
    };
    Error::new(kind, operation, error.message()).with_source(error)
}

/// A random pause that grows with the number of attempts before it.
pub(crate) fn pause(attempts: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << attempts.min(8)).min(LONGEST_PAUSE);
    most.mul_f64(fastrand::f64())
}

/// The answer to everything after the end.
pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the Postgres backend was closed")
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.lanes.address).field("closed", &self.is_closed()).finish()
    }
}
