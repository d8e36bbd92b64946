//! Sets of places that fill up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use windlass_core::notebook::PLACES;
use windlass_core::{Backend, NoteKey, Place};

use super::scene::{Scene, at};
use crate::fixture;

/// The first value of a place stays, whatever comes later.
pub async fn the_first_value_of_a_place_stays(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let set = scene.key("set");
    scene.fill(&set, 3, "first").await;
    scene.gather(&[at(&set, 3, "second"), at(&set, 4, "fourth"), at(&set, 4, "fifth")]).await;
    assert_eq!(scene.gathered(&set, 3..5).await, [Some("first".into()), Some("fourth".into())]);
}

/// Each call learns how many places of its set are filled, whatever their order, and repetitions count once.
pub async fn a_set_knows_its_size(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let set = scene.key("set");
    for (size, place) in [7, 0, 500, 3, PLACES - 1, 8].into_iter().enumerate() {
        let size = u32::try_from(size).expect("a small number") + 1;
        assert_eq!(scene.fill(&set, place, "1").await, size);
        assert_eq!(scene.fill(&set, place, "again").await, size, "a repetition changes nothing");
    }
    assert_eq!(scene.fill(&set, 7, "1").await, 6, "and a late one learns the size of today");
}

/// A call that fills several places of a set learns at its last one how many are filled, and at none more.
pub async fn a_call_with_many_places_learns_the_size(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let set = scene.key("set");
    scene.fill(&set, 1, "1").await;
    let places = [0, 1, 2, 2, 3].map(|place| at(&set, place, "1"));
    let sizes = scene.gather(&places).await;
    // A store may count after each place, or once after all of them.
    for (size, least) in sizes.iter().zip([2, 2, 3, 3, 4]) {
        assert!((least..=4).contains(size), "{sizes:?}");
    }
    assert_eq!(sizes[4], 4);
}

/// Several sets can be filled in one call, and each counts its own places.
pub async fn several_sets_can_be_filled_in_one_call(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let [one, other] = ["one", "other"].map(|name| scene.key(name));
    scene.gather(&[at(&other, 5, "5"), at(&other, 6, "6")]).await;
    let sizes = scene.gather(&[at(&other, 0, "0"), at(&one, 0, "zero"), at(&other, 5, "six")]).await;
    assert_eq!(sizes, [3, 1, 3]);
    assert_eq!(scene.gathered(&one, 0..6).await[0], Some("zero".into()));
    let expected = [Some("0"), None, None, None, None, Some("5"), Some("6")].map(|value| value.map(Bytes::from));
    assert_eq!(scene.gathered(&other, 0..7).await, expected);
}

/// Every caller fills a place at the same moment; answers what they were told, in order.
pub(super) async fn fill_at_once(scenes: &[Scene], set: &NoteKey) -> Vec<u32> {
    let mut callers = JoinSet::new();
    for (place, scene) in (0..).zip(scenes.iter().cloned()) {
        let set = set.clone();
        callers.spawn(async move { scene.fill(&set, place, place.to_string()).await });
    }
    let mut sizes = callers.join_all().await;
    sizes.sort_unstable();
    sizes
}

/// Of 64 that fill the 64 places of a set at the same moment, exactly one learns that it is full.
pub async fn exactly_one_learns_that_a_set_is_full(backend: Arc<dyn Backend>) {
    let scenes = vec![Scene::new(backend); 64];
    for name in ["one", "two", "three"] {
        let set = scenes[0].key(name);
        assert_eq!(fill_at_once(&scenes, &set).await, (1..=64).collect::<Vec<u32>>());
        assert_eq!(scenes[0].fill(&set, 9, "later").await, 64, "and everybody who asks later");
    }
}

/// A place holds any value: binary, empty, and of 1 MiB.
pub async fn a_place_holds_any_value(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let set = scene.key("set");
    let values = [fixture::binary(), Bytes::new(), fixture::large()];
    for (place, value) in (0..).zip(&values) {
        assert_eq!(scene.fill(&set, place, value.clone()).await, place + 1, "an empty value fills its place, too");
    }
    let gathered = scene.gathered(&set, 0..3).await;
    assert!(gathered.into_iter().eq(values.map(Some)), "the values are others");
}

/// Any range of a set can be read, with nothing where nothing is, and nothing of a set that is not there.
pub async fn places_are_read_by_ranges(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let set = scene.key("set");
    let places = [1, 2, 10, 11, 100, PLACES - 1];
    scene.gather(&places.map(|place| at(&set, place, place.to_string()))).await;
    for range in [0..3, 2..2, 2..11, 10..12, 3..10, 99..102, PLACES - 2..PLACES, 0..1_000] {
        let expected: Vec<Option<Bytes>> =
            range.clone().map(|place| places.contains(&place).then(|| place.to_string().into())).collect();
        assert_eq!(scene.gathered(&set, range.clone()).await, expected, "{range:?}");
    }
    assert_eq!(scene.gathered(&scene.key("other"), 0..2).await, [None, None]);
}

/// A set of 10,000 places is exact, and a call costs no more because it is large.
pub async fn a_large_set_is_exact_and_cheap(backend: Arc<dyn Backend>) {
    const SIZE: u32 = 10_000;
    const BATCH: u32 = 500;
    let scene = Scene::new(backend);
    let set = scene.key("set");
    let mut spans: Vec<Duration> = Vec::new();
    for first in (0..SIZE).step_by(BATCH as usize) {
        // Scattered, so that the order of filling is not that of the places.
        let places: Vec<Place> = (first..first + BATCH)
            .map(|number| number * 7_919 % SIZE)
            .map(|place| at(&set, place, place.to_string()))
            .collect();
        let start = Instant::now();
        assert_eq!(scene.gather(&places).await.last(), Some(&(first + BATCH)));
        spans.push(start.elapsed());
        assert_eq!(scene.gather(&places[..3]).await[2], first + BATCH, "a repetition changes nothing");
    }
    for first in (0..SIZE).step_by(1_000) {
        let expected = (first..first + 1_000).map(|place| Some(place.to_string().into()));
        assert!(scene.gathered(&set, first..first + 1_000).await.into_iter().eq(expected), "{first}");
    }
    let quickest = |spans: &[Duration]| spans.iter().min().copied().unwrap_or_default();
    let (early, late) = (quickest(&spans[..5]), quickest(&spans[15..]));
    assert!(late < 10 * early + Duration::from_millis(100), "a batch took {early:?}, and {late:?} in the end");
}
