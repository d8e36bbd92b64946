//! Many that change a note at the same moment.

use std::sync::Arc;

use tokio::task::JoinSet;
use windlass_core::{Backend, Expected};

use super::scene::{Scene, put};

/// All of them expect the same at the same moment; answers who was told that it has written.
pub(super) async fn who_wins(scenes: &[Scene], name: &'static str, expected: Expected) -> Vec<usize> {
    let mut writers = JoinSet::new();
    for (number, scene) in scenes.iter().cloned().enumerate() {
        writers.spawn(async move {
            let written = scene.change(put(&scene.key(name), expected, number.to_string())).await;
            written.map(|_| number)
        });
    }
    writers.join_all().await.into_iter().flatten().collect()
}

/// One of them has won, and what it wrote is there.
pub(super) async fn one_wins(scenes: &[Scene]) {
    for round in 0..10 {
        let expected = match scenes[0].read("a").await {
            Some(note) => Expected::Version(note.version),
            None => Expected::Absent,
        };
        let winners = who_wins(scenes, "a", expected).await;
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} were told that they have written");
        let value = scenes[0].read("a").await.map(|note| note.value);
        assert_eq!(value, Some(winners[0].to_string().into()));
    }
}

/// Of many that expect the same at the same moment, exactly one writes; the others are told of a conflict.
pub async fn of_many_writers_one_wins(backend: Arc<dyn Backend>) {
    one_wins(&vec![Scene::new(backend); 16]).await;
}

/// Many that read a number and write the next one, again after each conflict, count right.
pub async fn many_that_count_by_turns_count_right(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    scene.put("count", "0").await;
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let scene = scene.clone();
        writers.spawn(async move {
            for _ in 0..10 {
                count_on(&scene).await;
            }
        });
    }
    writers.join_all().await;
    assert_eq!(scene.read("count").await.map(|note| note.value), Some("80".into()));
}

/// Adds one, however often it takes.
async fn count_on(scene: &Scene) {
    loop {
        let note = scene.read("count").await.expect("it is there");
        let text = std::str::from_utf8(&note.value).expect("a number");
        let next = text.parse::<u32>().expect("a number") + 1;
        let change = put(&scene.key("count"), Expected::Version(note.version), next.to_string());
        if scene.change(change).await.is_some() {
            return;
        }
    }
}
