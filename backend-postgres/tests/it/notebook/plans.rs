//! How the server finds notes and places: by their indexes, also with plans of when there were few.

use std::sync::atomic::{AtomicU32, Ordering};

use windlass_backend_postgres::PostgresBackend;
use windlass_core::{Expected, NoteChange, NoteKey, Notebook, Place};

use super::{at, key, put};
use crate::support::{Database, NEVER, config, connect, until_async};

/// How often the tables of the notebook were read as a whole, and by an index.
fn scans(base: &Database) -> (u64, u64) {
    let sql = "SELECT sum(seq_scan), sum(idx_scan) FROM pg_stat_all_tables
        WHERE schemaname = 'windlass' AND relname IN ('note', 'note_set', 'note_place')";
    let text = base.sql(sql);
    let (whole, indexed) = text.split_once('|').expect("two numbers");
    (whole.parse().expect("a number"), indexed.parse().expect("a number"))
}

/// Every call once, about things that are there and things that are not.
async fn call_all(backend: &PostgresBackend, round: u32) {
    let absent: Vec<NoteKey> = (0..200).map(|n| key(format!("absent-{n}"))).collect();
    backend.read(&absent).await.expect("the server answers");
    let changes: Vec<NoteChange> = (0..50).map(|n| put(format!("new-{n}"), Expected::Anything, "1")).collect();
    backend.write(&changes).await.expect("the server answers");
    assert_eq!(backend.list("test", Some("new"), 20).await.expect("the server answers").notes.len(), 20);
    let places: Vec<Place> = (0..50).map(|n| at("small", n + round * 50, "1")).collect();
    assert_eq!(backend.gather(&places).await.expect("the server answers").last(), Some(&(round * 50 + 50)));
    assert!(backend.gathered(&key("small"), 0..40).await.expect("the server answers").iter().all(Option::is_some));
}

#[tokio::test]
async fn no_call_reads_a_table_that_has_grown() {
    let base = Database::new();
    let backend = connect(config(&base).cleanup(NEVER)).await;
    for round in 0..10 {
        call_all(&backend, round).await;
    }
    for table in ["note", "note_set", "note_place"] {
        base.sql(&format!("ALTER TABLE windlass.{table} SET (autovacuum_enabled = false); ANALYZE windlass.{table}"));
    }
    call_all(&backend, 10).await;
    base.sql(
        "INSERT INTO windlass.note (shelf, name, mark, expires_at, value)
            SELECT 'test', 'row-' || n, 1, 'infinity', 'x' FROM generate_series(1, 50000) AS n;
        INSERT INTO windlass.note_set (shelf, name, size, expires_at)
            SELECT 'test', 'row-' || n, 1, 'infinity' FROM generate_series(1, 50000) AS n;
        INSERT INTO windlass.note_place (set_id, place, value) SELECT 1000 + n, 0, 'x' FROM generate_series(1, 50000) AS n;",
    );
    // What the server has counted so far is seen when a later call is.
    let round = AtomicU32::new(11);
    let counted = async || {
        let (_, before) = scans(&base);
        until_async(async || {
            call_all(&backend, round.fetch_add(1, Ordering::Relaxed)).await;
            scans(&base).1 > before
        })
        .await;
        scans(&base)
    };
    let (read, _) = counted().await;
    assert_eq!(counted().await.0, read, "a table was read as a whole");
}
