//! Removes what has expired, in small batches. Nobody sees it meanwhile: what is read is compared
//! with the server's clock.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Arguments as _;
use sqlx::Row as _;
use tokio::time::sleep;
use windlass_core::Result;

use crate::connection::Work;
use crate::lane::Statement;
use crate::row::arguments;
use crate::statements::CLEANUP_ROWS;
use crate::store::Store;

/// Between two batches, so that others find room.
const BREAK: Duration = Duration::from_millis(10);
/// How far before the last batch the next clean-up begins: somebody may have held a row.
const OVERLAP_MICROS: i64 = 300_000_000;

/// Cleans up as long as the backend lives. Any number of processes do so at once; each takes what no
/// other one has.
pub(crate) async fn serve(store: Arc<Store>) {
    let span = store.link.config().cleanup;
    let (results, notes) = (&store.statements, &store.notebook);
    let mut ends = [&results.clean_results, &notes.clean_notes, &notes.clean_sets].map(|sql| (sql, 0));
    loop {
        // Processes that were started together do not stay together.
        sleep(span.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        if let Err(error) = clean_up(&store, &mut ends).await {
            tracing::debug!(target: "windlass::backend::postgres", "clean-up: {error}; later again");
        }
    }
}

/// `ends` are statements that go by the time of the end, and how far each of them has come.
async fn clean_up(store: &Store, ends: &mut [(&Arc<str>, i64)]) -> Result<()> {
    // What was removed stays in the index until it is vacuumed, which an old transaction can hold up
    // for hours; so each batch begins where the one before has ended.
    for (sql, done) in ends {
        let mut from = *done - OVERLAP_MICROS;
        while clean(store, sql, Some(&mut from)).await? {
            sleep(BREAK).await;
        }
        *done = from.max(*done);
    }
    let (results, notes) = (&store.statements, &store.notebook);
    for sql in [&results.clean_told, &results.clean_listeners, &notes.clean_places, &notes.clean_listeners] {
        while clean(store, sql, None).await? {
            sleep(BREAK).await;
        }
    }
    Ok(())
}

/// Removes one batch; answers whether there may be more.
async fn clean(store: &Store, sql: &Arc<str>, done: Option<&mut i64>) -> Result<bool> {
    let arguments = arguments("clean up", |arguments| match &done {
        Some(done) => arguments.add(**done),
        None => Ok(()),
    })?;
    let rows = store.link.ask("clean up", Work::Write, Statement { sql: Arc::clone(sql), arguments }).await?;
    let count = rows.first().and_then(|row| row.try_get::<i64, _>(0).ok()).unwrap_or(0);
    let last = rows.first().and_then(|row| row.try_get::<Option<i64>, _>(1).ok()).flatten();
    if let (Some(done), Some(last)) = (done, last) {
        *done = last;
    }
    Ok(usize::try_from(count).is_ok_and(|count| count >= CLEANUP_ROWS))
}
