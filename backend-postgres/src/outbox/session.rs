use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Execute as _, PgPool, Postgres};
use tokio::time::Instant;
use windlass_core::{Error, ErrorKind, Result};

use crate::lane::{Lane, Statement};
use crate::opener::Opener;

/// A statement that is not answered within this time is given up; what it did is found out later.
const ANSWER: Duration = Duration::from_secs(10);
/// Connections of one outbox, beside those that listen.
const CONNECTIONS: usize = 4;

/// Runs the statements of the outbox, each on its own, over connections of our own: neither takes a
/// relay connections from the application, nor must it wait for them.
pub(super) struct Session {
    pub(super) opener: Opener,
    lane: Lane,
    /// Beside which we are, if it is not by URL.
    pool: Option<PgPool>,
    closed: AtomicBool,
}

impl Session {
    pub(super) fn new(opener: Opener, pool: Option<PgPool>) -> Self {
        let lane = Lane::own(opener.clone(), CONNECTIONS);
        Self { opener, lane, pool, closed: AtomicBool::new(false) }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// `Closed` if the outbox or the pool was closed, else as the table of SQLSTATEs says.
    ///
    /// # Cancel safety
    /// If the future is dropped, the statement may have been applied. Its connection is closed.
    pub(super) async fn run(
        &self,
        operation: &'static str,
        mut query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>> {
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, operation, "the outbox was closed"));
        }
        let unwritable =
            |error| Error::new(ErrorKind::Internal, operation, "a value cannot be written").with_source(error);
        let arguments = query.take_arguments().map_err(unwritable)?.unwrap_or_default();
        let statement = Statement { sql: query.sql().as_str().into(), arguments };
        let answer = self.lane.once(operation, statement, Instant::now() + ANSWER).await;
        answer.map_err(|failure| failure.error.with("postgres", self.opener.address()))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) || self.pool.as_ref().is_some_and(PgPool::is_closed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.lane.clear();
    }
}
