//! Changes of notes: what guards them, and what many writers do to each other.

use std::sync::Arc;

use windlass_core::{Expected, NoteChange, Notebook, Retention, WriteOutcome};

use super::{key, put, read, remove, version, write};
use crate::support::{Database, NEVER, config, connect};

/// Several that write the same notes, in another order each.
async fn write_at_once(base: &Database) {
    let (one, other) = (connect(config(base)).await, connect(config(base)).await);
    for round in 0..20 {
        let writers = (0..6).map(|number| {
            let backend = Arc::clone(if number % 2 == 0 { &one } else { &other });
            let mut changes: Vec<NoteChange> = (0..50)
                .map(|name| match (name + number) % 3 {
                    0 => put(format!("{round}-{name}"), Expected::Absent, "absent"),
                    1 => put(format!("{round}-{name}"), Expected::Anything, "anything"),
                    _ => remove(format!("{round}-{name}"), Expected::Anything),
                })
                .collect();
            // What locks rows in the order given would lock itself out.
            changes.rotate_left(number * 11 % 50);
            if number % 3 == 0 {
                changes.reverse();
            }
            tokio::spawn(async move { backend.write(&changes).await })
        });
        for writer in writers.collect::<Vec<_>>() {
            assert_eq!(writer.await.expect("no panic").expect("the server answers").len(), 50);
        }
    }
    assert_eq!(base.deadlocks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_the_same_notes_never_lock_each_other_out() {
    write_at_once(&Database::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_90_conflicts_of_a_stricter_server_are_repeated() {
    let base = Database::new();
    base.set("default_transaction_isolation = serializable");
    write_at_once(&base).await;
}

/// Everybody adds one to the same numbers, again after each conflict.
#[tokio::test(flavor = "multi_thread")]
async fn no_count_of_many_writers_on_two_connections_is_lost() {
    let base = Database::new();
    let backends = [connect(config(&base)).await, connect(config(&base)).await];
    let writers = (0..8).map(|number| {
        let backend = Arc::clone(&backends[number % 2]);
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let there = read(&backend, "count").await;
                    let expected = there.as_ref().map_or(Expected::Absent, |note| Expected::Version(note.version));
                    let count = there.map_or(0, |note| String::from_utf8_lossy(&note.value).parse().unwrap());
                    // Every seventh step begins anew at another version.
                    let step = [put("count", expected, (count + 1_u32).to_string())];
                    if backend.write(&step).await.unwrap() != [WriteOutcome::Conflict] {
                        break;
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(read(&backends[0], "count").await.unwrap().value, "200");
}

/// The note comes and goes all the time; whoever is told that it wrote over nothing did.
#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_expect_nothing_one_has_the_note_at_a_time() {
    let base = Database::new();
    let backends = [connect(config(&base)).await, connect(config(&base)).await];
    let writers = (0..6).map(|number| {
        let backend = Arc::clone(&backends[number % 2]);
        tokio::spawn(async move {
            let mut taken = 0;
            while taken < 15 {
                if let WriteOutcome::Written(version) =
                    write(&backend, put("lock", Expected::Absent, number.to_string())).await
                {
                    let there = read(&backend, "lock").await.expect("nobody else may remove it");
                    assert_eq!((there.version, there.value), (version, number.to_string().into()));
                    let removed = write(&backend, remove("lock", Expected::Version(version))).await;
                    assert_eq!(removed, WriteOutcome::Written(0));
                    taken += 1;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_version_is_greater_than_those_of_a_note_that_was_removed() {
    let base = Database::new();
    let backend = connect(config(&base).cleanup(NEVER)).await;
    let mut last = 0;
    for round in 0..6 {
        let new = version(&backend, put("a", Expected::Absent, "1")).await;
        assert!(new > last, "{new} after {last}");
        last = new;
        assert_eq!(write(&backend, remove("a", Expected::Version(new))).await, WriteOutcome::Written(0));
        assert_eq!(write(&backend, put("a", Expected::Version(new), "2")).await, WriteOutcome::Conflict);
        if round % 2 == 0 {
            // As the clean-up does.
            base.sql("DELETE FROM windlass.note");
        }
    }
}

#[tokio::test]
async fn what_has_expired_counts_as_nothing_before_it_is_removed() {
    let base = Database::new();
    let backend = connect(config(&base).cleanup(NEVER)).await;
    let old = version(&backend, put("a", Expected::Anything, "1")).await;
    base.sql("UPDATE windlass.note SET expires_at = now() - interval '1 s'");
    assert_eq!(read(&backend, "a").await, None);
    assert_eq!(backend.list("test", None, 10).await.unwrap().notes, []);
    assert_eq!(write(&backend, put("a", Expected::Version(old), "2")).await, WriteOutcome::Conflict);
    assert_eq!(write(&backend, remove("a", Expected::Version(old))).await, WriteOutcome::Conflict);
    assert!(version(&backend, put("a", Expected::Absent, "2")).await > old);
    assert_eq!(base.sql("SELECT count(*) FROM windlass.note"), "1");
}

#[tokio::test]
async fn removing_nothing_leaves_nothing() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    assert_eq!(write(&backend, remove("a", Expected::Anything)).await, WriteOutcome::Written(0));
    assert_eq!(write(&backend, put("b", Expected::Version(7), "1")).await, WriteOutcome::Conflict);
    assert_eq!(write(&backend, put("b", Expected::Version(u64::MAX), "1")).await, WriteOutcome::Conflict);
    assert_eq!(base.sql("SELECT count(*) FROM windlass.note"), "0");
}

#[tokio::test]
async fn batches_of_any_size() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    let mut changes: Vec<NoteChange> =
        (0..1700).map(|n| put(format!("{n:04}"), Expected::Absent, n.to_string())).collect();
    changes.extend((0..9).map(|n| put(format!("large-{n}"), Expected::Absent, vec![n; 1024 * 1024])));
    // The same again, in the middle of it.
    changes.insert(700, put("0003", Expected::Anything, "again"));
    let outcomes = backend.write(&changes).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome != WriteOutcome::Conflict));
    let keys: Vec<_> = changes.iter().map(|change| change.key.clone()).collect();
    let notes = backend.read(&keys).await.unwrap();
    for (change, note) in changes.iter().zip(notes) {
        let value = if change.key == key("0003") { "again".into() } else { change.value.clone().unwrap() };
        assert!(note.unwrap().value == value, "{:?}", change.key);
    }
    let (mut listed, mut after) = (0, None);
    loop {
        let page = backend.list("test", after.as_deref(), 1000).await.unwrap();
        let bytes: usize = page.notes.iter().map(|(_, note)| note.value.len()).sum();
        assert!(page.notes.len() <= 500 && bytes <= 4 * 1024 * 1024, "{} notes, {bytes} B", page.notes.len());
        listed += page.notes.len();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, 1709);
}

#[tokio::test]
async fn for_ever_and_for_aeons_are_times() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    let aeons = Retention::For(std::time::Duration::MAX);
    let changes = [
        NoteChange { keep: Retention::Forever, ..put("ever", Expected::Anything, "1") },
        NoteChange { keep: aeons, ..put("aeons", Expected::Anything, "1") },
    ];
    backend.write(&changes).await.unwrap();
    let sql = "SELECT expires_at = 'infinity', extract(year FROM now()) + 9000 < extract(year FROM expires_at)
        FROM windlass.note ORDER BY name DESC";
    assert_eq!(base.sql(sql), "t|t\nf|t");
}
