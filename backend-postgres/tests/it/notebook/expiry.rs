//! What has ended is removed, by small batches, and leaves nothing behind.

use std::time::Duration;

use windlass_core::{Expected, NoteChange, Notebook, Place, Retention};

use super::{at, put, remove};
use crate::support::{Database, NEVER, config, connect, until};

/// Notes how many rows each statement removes from a table.
fn watch(base: &Database, table: &str) {
    base.sql(&format!(
        "CREATE TABLE IF NOT EXISTS batch (place text, count int);
        CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO batch SELECT TG_TABLE_NAME, count(*) FROM old; RETURN NULL; END $$;
        CREATE TRIGGER noted AFTER DELETE ON windlass.{table} REFERENCING OLD TABLE AS old EXECUTE FUNCTION note();"
    ));
}

fn removed(base: &Database, table: &str) -> String {
    base.sql(&format!("SELECT sum(count), max(count) <= 1000 FROM batch WHERE place = '{table}'"))
}

#[tokio::test]
async fn notes_that_have_ended_or_were_removed_are_cleaned_up_in_small_batches() {
    let base = Database::new();
    let backend = connect(config(&base).cleanup(NEVER)).await;
    watch(&base, "note");
    let blink = Retention::For(Duration::from_millis(1));
    let gone: Vec<_> =
        (0..2300).map(|n| NoteChange { keep: blink, ..put(format!("gone-{n}"), Expected::Anything, "1") }).collect();
    backend.write(&gone).await.unwrap();
    let removals: Vec<_> = (0..200).map(|n| put(format!("removed-{n}"), Expected::Anything, "1")).collect();
    backend.write(&removals).await.unwrap();
    let removals: Vec<_> = (0..200).map(|n| remove(format!("removed-{n}"), Expected::Anything)).collect();
    backend.write(&removals).await.unwrap();
    let forever = NoteChange { keep: Retention::Forever, ..put("forever", Expected::Anything, "1") };
    backend.write(&[put("stays", Expected::Anything, "1"), forever]).await.unwrap();
    // A transaction that sees everything keeps the space from being used again, and nothing else.
    let mut old = crate::support::pool(&base, 1).await.begin().await.unwrap();
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1").execute(&mut *old).await.unwrap();
    let often = config(&base).cleanup(Duration::from_millis(20));
    let (_one, _two) = (connect(often.clone()).await, connect(often).await);
    until(|| base.sql("SELECT count(*) FROM windlass.note") == "2").await;
    assert_eq!(removed(&base, "note"), "2500|t");
    assert_eq!(backend.list("test", None, 10).await.unwrap().notes.len(), 2);
}

#[tokio::test]
async fn sets_that_have_ended_are_cleaned_up_with_all_of_their_places() {
    let base = Database::new();
    let backend = connect(config(&base).cleanup(NEVER)).await;
    watch(&base, "note_set");
    watch(&base, "note_place");
    watch(&base, "note_set_over");
    let brief = |place: Place| Place { keep: Duration::from_millis(1), ..place };
    // One that is larger than a batch, and many small ones around it.
    let large: Vec<Place> = (0..2500).map(|n| brief(at("large", n, "1"))).collect();
    for round in 0..2 {
        let small: Vec<Place> = (0..1300).map(|n| brief(at(&format!("small-{round}-{}", n / 2), n % 2, "1"))).collect();
        backend.gather(&small).await.unwrap();
        if round == 0 {
            backend.gather(&large).await.unwrap();
        }
    }
    backend.gather(&[at("stays", 0, "1"), at("stays", 1, "1")]).await.unwrap();
    let often = config(&base).cleanup(Duration::from_millis(20));
    let (_one, _two) = (connect(often.clone()).await, connect(often).await);
    let left = "SELECT (SELECT count(*) FROM windlass.note_set), (SELECT count(*) FROM windlass.note_place),
        (SELECT count(*) FROM windlass.note_set_over)";
    until(|| base.sql(left) == "1|2|0").await;
    for table in ["note_set", "note_place", "note_set_over"] {
        assert!(removed(&base, table).ends_with("|t"), "{table}: {}", removed(&base, table));
    }
    assert_eq!(backend.gathered(&super::key("stays"), 0..2).await.unwrap().into_iter().flatten().count(), 2);
}

#[tokio::test]
async fn nothing_stays_of_those_who_listened() {
    let base = Database::new();
    let _backend = connect(config(&base).cleanup(Duration::from_millis(20))).await;
    base.sql(
        "INSERT INTO windlass.topic_listener SELECT i::text, 'x', now() FROM generate_series(1, 1200) AS i;
        INSERT INTO windlass.topic_listener VALUES ('here', 'x', now() + interval '1 h');",
    );
    until(|| base.sql("SELECT topic FROM windlass.topic_listener") == "here").await;
}
