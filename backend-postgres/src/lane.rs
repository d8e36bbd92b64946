//! Connections for one kind of work: kept open, counted, and thrown away at the first doubt.
//!
//! Our own are not in a pool of the driver: that one asks the server after every statement whether
//! the connection still works, hides why it cannot connect behind a timeout, and can lose its count
//! when a caller is dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, PgConnection, Postgres};
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use windlass_core::{Error, ErrorKind};

use crate::config::PostgresBackendConfig;
use crate::error::{Reaction, failed, reaction};
use crate::lent::Lent;
use crate::opener::Opener;

/// A connection that was not used for this long is closed.
const IDLE: Duration = Duration::from_secs(300);
/// A connection is used for this long, so that a name that leads elsewhere by now is asked again.
const AGE: Duration = Duration::from_secs(1800);

/// A text and its values.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) sql: Arc<str>,
    pub(crate) arguments: PgArguments,
}

impl Statement {
    pub(crate) fn new(sql: &Arc<str>, arguments: PgArguments) -> Self {
        Self { sql: Arc::clone(sql), arguments }
    }
}

/// An error, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) reaction: Reaction,
}

impl Failure {
    fn of(operation: &'static str, cause: sqlx::Error) -> Self {
        Self { reaction: reaction(&cause), error: failed(operation, cause) }
    }

    pub(crate) fn to_connect(error: Error) -> Self {
        let reaction = if error.is_retryable() { Reaction::Reconnect } else { Reaction::Report };
        Self { error, reaction }
    }

    pub(crate) fn exhausted(operation: &'static str, begin: Instant, used: usize, most: usize) -> Self {
        let text = format!("no connection in {:.1?} ({used} of {most} in use)", begin.elapsed());
        Self { error: Error::new(ErrorKind::Unavailable, operation, text), reaction: Reaction::Wait }
    }

    /// Whether the server has answered, so that the connection is as good as before.
    pub(crate) fn leaves_it_whole(&self) -> bool {
        self.reaction != Reaction::Reconnect && self.error.kind() != ErrorKind::Unknown
    }
}

/// See the module.
pub(crate) enum Lane {
    Own(Own),
    Lent(Lent),
}

/// Connections that only we use.
pub(crate) struct Own {
    opener: Opener,
    most: usize,
    permits: Semaphore,
    idle: Mutex<Vec<Kept>>,
}

/// A connection that nobody uses at the moment.
struct Kept {
    connection: Box<PgConnection>,
    opened: Instant,
    used: Instant,
}

impl Lane {
    /// A lane of at most that many connections, opened when they are needed.
    pub(crate) fn own(opener: Opener, most: usize) -> Self {
        Self::Own(Own { opener, most, permits: Semaphore::new(most), idle: Mutex::default() })
    }

    /// Runs a statement once. If it is dropped halfway, its connection is closed.
    pub(crate) async fn once(
        &self,
        operation: &'static str,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, Failure> {
        match self {
            Self::Own(own) => own.once(operation, statement, deadline).await,
            Self::Lent(lent) => lent.once(operation, statement, deadline).await,
        }
    }

    /// Closes what is open and ours.
    pub(crate) fn clear(&self) {
        if let Self::Own(own) = self {
            own.idle().clear();
        }
    }
}

impl Own {
    async fn once(
        &self,
        operation: &'static str,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, Failure> {
        let begin = Instant::now();
        let Ok(_permit) = timeout_at(deadline, self.permits.acquire()).await else {
            return Err(Failure::exhausted(operation, begin, self.most, self.most));
        };
        let mut kept = match self.take() {
            Some(kept) => kept,
            None => self.fresh(operation, deadline).await?,
        };
        let running = run(&mut kept.connection, statement, &self.opener.config);
        let answer = settle(operation, timeout_at(deadline, running).await, begin);
        match &answer {
            Ok(_) => self.put(kept),
            // The others were opened to the same server and have most likely ended too.
            Err(failure) if failure.reaction == Reaction::Reconnect => self.idle().clear(),
            // After an error, behind a pooler, a transaction is open.
            Err(failure) if failure.leaves_it_whole() && !self.opener.config.pooler => self.put(kept),
            Err(_) => {}
        }
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        // Nothing panics between two changes that belong together.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Kept> {
        let mut idle = self.idle();
        idle.retain(|kept| kept.used.elapsed() < IDLE && kept.opened.elapsed() < AGE);
        idle.pop()
    }

    fn put(&self, kept: Kept) {
        self.idle().push(Kept { used: Instant::now(), ..kept });
    }

    async fn fresh(&self, operation: &'static str, deadline: Instant) -> Result<Kept, Failure> {
        let opened = timeout_at(deadline, self.opener.open(operation)).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, operation, "cannot connect: no answer in the time of this call"))
        });
        let connection = Box::new(opened.map_err(Failure::to_connect)?);
        Ok(Kept { connection, opened: Instant::now(), used: Instant::now() })
    }
}

/// The driver prepares a statement in one step and executes it in the next; behind a pooler only a
/// transaction keeps the two together.
async fn run(
    connection: &mut PgConnection,
    statement: Statement,
    config: &PostgresBackendConfig,
) -> sqlx::Result<Vec<PgRow>> {
    if !config.pooler {
        return query(statement).fetch_all(connection).await;
    }
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}",
        config.operation_timeout.as_millis(),
        config.lock_timeout().as_millis()
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await?;
    let rows = query(statement).persistent(false).fetch_all(&mut *connection).await?;
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(rows)
}

pub(crate) fn query(statement: Statement) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    sqlx::query_with(AssertSqlSafe(statement.sql), statement.arguments)
}

pub(crate) fn settle(
    operation: &'static str,
    answer: Result<sqlx::Result<Vec<PgRow>>, Elapsed>,
    begin: Instant,
) -> Result<Vec<PgRow>, Failure> {
    match answer {
        Ok(answer) => answer.map_err(|cause| Failure::of(operation, cause)),
        Err(_) => {
            let error = Error::new(ErrorKind::Unknown, operation, format!("no answer in {:.1?}", begin.elapsed()));
            Err(Failure { error, reaction: Reaction::Wait })
        }
    }
}
