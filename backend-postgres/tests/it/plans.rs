//! How the server finds rows.

use windlass_core::{Backend, TaskId};

use crate::support::{Database, config, connect, id, succeeded, until_async};

fn scans(server: &Database, kind: &str) -> u64 {
    let sql = format!("SELECT {kind} FROM pg_stat_all_tables WHERE schemaname = 'windlass' AND relname = 'result'");
    server.sql(&sql).trim().parse().expect("a number")
}

/// A plan that is right for a handful of rows reads the whole table, and must not be kept until
/// there are many: each look-up would cost what the table holds.
#[tokio::test]
async fn looking_up_a_batch_does_not_read_a_table_that_has_grown() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("first")]).await.unwrap();
    server.sql("ALTER TABLE windlass.result SET (autovacuum_enabled = false); ANALYZE windlass.result");
    let absent: Vec<TaskId> = (0..200).map(|n| id(format!("absent-{n}"))).collect();
    for _ in 0..10 {
        backend.load(&absent).await.unwrap();
    }
    server.sql(
        "INSERT INTO windlass.result (id, token, state, attempt, at, expires_at)
         SELECT 'row-' || n, 1, 'succeeded', 1, 1, 'infinity' FROM generate_series(1, 50000) AS n",
    );
    // What the server has counted so far is seen when a later look-up is.
    let before = scans(&server, "idx_scan");
    until_async(async || {
        backend.load(&absent).await.unwrap();
        scans(&server, "idx_scan") > before
    })
    .await;
    let (read, looked) = (scans(&server, "seq_scan"), scans(&server, "idx_scan"));
    until_async(async || {
        backend.load(&absent).await.unwrap();
        scans(&server, "idx_scan") > looked
    })
    .await;
    assert_eq!(scans(&server, "seq_scan"), read, "the table was read as a whole");
}
