//! Statements over the pool of the application.

use sqlx::PgPool;
use sqlx::postgres::PgRow;
use tokio::time::{Instant, timeout_at};

use crate::error::not_connected;
use crate::lane::{Failure, Statement, query, settle};

/// The application's pool. What it is asked for must not be dropped halfway: the driver does not
/// survive that in all places.
pub(crate) struct Lent {
    pub(crate) pool: PgPool,
    pub(crate) pooler: bool,
}

impl Lent {
    /// Runs a statement once.
    pub(crate) async fn once(
        &self,
        operation: &'static str,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, Failure> {
        let begin = Instant::now();
        let mut connection = match timeout_at(deadline, self.pool.acquire()).await {
            Ok(Ok(connection)) => connection,
            Err(_) | Ok(Err(sqlx::Error::PoolTimedOut)) => return Err(self.exhausted(operation, begin)),
            Ok(Err(cause)) => return Err(Failure::to_connect(not_connected(operation, cause))),
        };
        let answer = if self.pooler {
            let in_transaction = async {
                sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
                let rows = query(statement).persistent(false).fetch_all(&mut *connection).await?;
                sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map(|_| rows)
            };
            timeout_at(deadline, in_transaction).await
        } else {
            timeout_at(deadline, query(statement).fetch_all(&mut *connection)).await
        };
        let answer = settle(operation, answer, begin);
        if let Err(failure) = &answer
            && (self.pooler || !failure.leaves_it_whole())
        {
            connection.close_on_drop();
        }
        answer
    }

    fn exhausted(&self, operation: &'static str, begin: Instant) -> Failure {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let used = count(self.pool.size()).saturating_sub(self.pool.num_idle());
        Failure::exhausted(operation, begin, used, count(self.pool.options().get_max_connections()))
    }
}
