//! Sets of places: counted exactly, and without a look at the places.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Notebook, Place};

use super::{at, key};
use crate::support::{Database, NEVER, config, connect, until_async};

#[tokio::test(flavor = "multi_thread")]
async fn many_batches_at_once_count_every_place_once_and_never_lock_each_other_out() {
    let base = Database::new();
    let backends = [connect(config(&base)).await, connect(config(&base)).await];
    // Each place of three sets is filled by two callers.
    let callers = (0..24_u32).map(|number| {
        let backend = Arc::clone(&backends[number as usize % 2]);
        let mut places: Vec<Place> = (0..90)
            .map(|n| at(["one", "two", "three"][n as usize % 3], (number / 2 * 30) + n / 3, number.to_string()))
            .collect();
        places.rotate_left(number as usize * 7 % 90);
        tokio::spawn(async move { (places.clone(), backend.gather(&places).await.unwrap()) })
    });
    let mut full = std::collections::HashMap::new();
    for caller in callers.collect::<Vec<_>>() {
        let (places, sizes) = caller.await.unwrap();
        for (place, size) in places.iter().zip(sizes) {
            assert!(size <= 360, "{size}");
            *full.entry(place.set.clone()).or_insert(0) += u32::from(size == 360);
        }
    }
    for set in ["one", "two", "three"].map(key) {
        assert!(full[&set] > 0, "somebody has learned that {set:?} is full");
        let values = backends[0].gathered(&set, 0..400).await.unwrap();
        assert_eq!(values.iter().flatten().count(), 360);
    }
    assert_eq!(base.deadlocks(), 0);
}

#[tokio::test]
async fn a_call_counts_place_by_place() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    let places = [at("a", 4, "4"), at("b", 0, "0"), at("a", 2, "2"), at("a", 4, "5"), at("a", 0, "0")];
    assert_eq!(backend.gather(&places).await.unwrap(), [1, 1, 2, 2, 3]);
    assert_eq!(backend.gather(&places).await.unwrap(), [3, 1, 3, 3, 3]);
    assert_eq!(base.sql("SELECT name, size FROM windlass.note_set ORDER BY name"), "a|3\nb|1");
}

#[tokio::test]
async fn a_set_that_has_ended_begins_anew_before_it_is_removed() {
    let base = Database::new();
    let backend = connect(config(&base).cleanup(NEVER)).await;
    assert_eq!(backend.gather(&[at("a", 0, "old"), at("a", 1, "old"), at("b", 0, "b")]).await.unwrap(), [1, 2, 1]);
    base.sql("UPDATE windlass.note_set SET expires_at = now() - interval '1 s' WHERE name = 'a'");
    assert_eq!(backend.gathered(&key("a"), 0..2).await.unwrap(), [None, None]);
    assert_eq!(backend.gather(&[at("b", 1, "b"), at("a", 1, "new")]).await.unwrap(), [2, 1]);
    assert_eq!(backend.gathered(&key("a"), 0..2).await.unwrap(), [None, Some("new".into())]);
    assert_eq!(base.sql("SELECT count(*) FROM windlass.note_set_over"), "1", "its places are removed later");
}

#[tokio::test]
async fn the_end_of_a_set_is_only_pushed_forward() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    let keep = |seconds| Place { keep: Duration::from_secs(seconds), ..at("a", 0, "1") };
    let left = || base.sql("SELECT round(extract(epoch FROM expires_at - now()) / 100) FROM windlass.note_set");
    backend.gather(&[keep(1000), keep(10)]).await.unwrap();
    assert_eq!(left(), "10");
    backend.gather(&[keep(10)]).await.unwrap();
    assert_eq!(left(), "10");
    backend.gather(&[keep(10), keep(9000)]).await.unwrap();
    // And a minute more, so that it need not be pushed with every call.
    assert_eq!(left(), "91");
}

#[tokio::test]
async fn who_fills_a_set_place_by_place_leaves_the_indexes_alone() {
    let base = Database::new();
    let backend = connect(config(&base).cleanup(NEVER)).await;
    for number in 0..300 {
        assert_eq!(backend.gather(&[at("a", number, "1")]).await.unwrap(), [number + 1]);
    }
    let sql = "SELECT n_tup_upd >= 299, n_tup_upd - n_tup_hot_upd < 15 FROM pg_stat_all_tables
        WHERE schemaname = 'windlass' AND relname = 'note_set'";
    // What the server has counted so far is seen when a later call is.
    until_async(async || {
        backend.gather(&[at("a", 0, "again")]).await.unwrap();
        base.sql(sql).starts_with("t|")
    })
    .await;
    assert_eq!(base.sql(sql), "t|t");
}

#[tokio::test]
async fn large_sets_are_read_in_parts() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    let large: Vec<Place> = (0..9).map(|n| at("large", n * 3, vec![n as u8; 1024 * 1024])).collect();
    assert_eq!(backend.gather(&large).await.unwrap(), (1..=9).collect::<Vec<_>>());
    let many: Vec<Place> = (0..1201).map(|n| at("many", n, n.to_string())).collect();
    assert_eq!(backend.gather(&many).await.unwrap(), (1..=1201).collect::<Vec<_>>());
    let values = backend.gathered(&key("large"), 0..30).await.unwrap();
    assert!(values.iter().enumerate().all(|(n, value)| value.is_some() == (n % 3 == 0 && n < 27)));
    assert!(values.into_iter().flatten().eq(large.iter().map(|place| place.value.clone())));
    let values = backend.gathered(&key("many"), 1..1300).await.unwrap();
    assert!(values.into_iter().flatten().eq(many[1..].iter().map(|place| place.value.clone())));
}
