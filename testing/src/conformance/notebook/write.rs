//! What is written can be read, and is written only over what was expected.

use std::sync::Arc;

use bytes::Bytes;
use windlass_core::{Backend, Expected, Note, NoteChange, NoteKey, Retention, WriteOutcome};

use super::scene::{Scene, at, put, removal};
use crate::fixture;

/// A note is read as it was written, with the version that the writer was told.
pub async fn a_note_comes_back(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    assert_eq!(scene.read("a").await, None, "nothing is there yet");
    let version = scene.put("a", "1").await;
    assert!(version > 0, "versions begin at 1");
    assert_eq!(scene.read("a").await, Some(Note { version, value: "1".into() }));
}

async fn comes_back(backend: Arc<dyn Backend>, value: Bytes) {
    let scene = Scene::new(backend);
    let version = scene.put("a", value.clone()).await;
    assert!(scene.read("a").await == Some(Note { version, value }), "the value is another one");
}

/// Values are bytes and come back bit by bit.
pub async fn a_binary_value_comes_back_unchanged(backend: Arc<dyn Backend>) {
    comes_back(backend, fixture::binary()).await;
}

/// An empty value is a value.
pub async fn an_empty_value_is_a_value(backend: Arc<dyn Backend>) {
    comes_back(backend, Bytes::new()).await;
}

/// A value of 1 MiB comes back.
pub async fn a_large_value_comes_back(backend: Arc<dyn Backend>) {
    comes_back(backend, fixture::large()).await;
}

/// After each change, a note has a greater version.
pub async fn versions_grow(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let mut last = 0;
    for round in 0..20 {
        // The same value is a change, too.
        let version = scene.put("a", (round / 2).to_string()).await;
        assert!(version > last, "{version} after {last}");
        last = version;
    }
}

/// A change that expects something else is answered with a conflict and changes nothing.
pub async fn a_conflict_changes_nothing(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let key = scene.key("a");
    let old = scene.put("a", "1").await;
    let version = scene.put("a", "2").await;
    for expected in [Expected::Absent, Expected::Version(old), Expected::Version(version + 1)] {
        assert_eq!(scene.change(put(&key, expected, "3")).await, None, "{expected:?}");
        assert_eq!(scene.change(removal(&key, expected)).await, None, "{expected:?}");
        assert_eq!(scene.read("a").await, Some(Note { version, value: "2".into() }), "{expected:?}");
    }
}

/// A change that expects exactly what is there is made.
pub async fn what_is_there_can_be_expected(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let key = scene.key("a");
    let mut version = scene.change(put(&key, Expected::Absent, "0")).await.expect("nothing was there");
    for number in 1..5 {
        let written = scene.change(put(&key, Expected::Version(version), number.to_string())).await;
        version = written.expect("this version was there");
        assert_eq!(scene.read("a").await, Some(Note { version, value: number.to_string().into() }));
    }
    assert_eq!(scene.change(removal(&key, Expected::Version(version))).await, Some(0));
    assert_eq!(scene.read("a").await, None);
}

/// Where nothing is, nothing but a version is a wrong expectation.
pub async fn nothing_can_be_expected(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    for expected in [Expected::Version(1), Expected::Version(0)] {
        assert_eq!(scene.change(put(&scene.key("a"), expected, "1")).await, None, "{expected:?}");
    }
    assert_eq!(scene.read("a").await, None, "a conflict writes nothing");
    assert!(scene.change(put(&scene.key("a"), Expected::Absent, "1")).await.is_some());
    assert!(scene.change(put(&scene.key("b"), Expected::Anything, "1")).await.is_some());
}

/// A note that is removed, or written with nothing to be kept, is gone, and can be written anew.
pub async fn a_removed_note_is_gone(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let key = scene.key("a");
    let not_kept = NoteChange { keep: Retention::None, ..put(&key, Expected::Anything, "2") };
    for gone in [removal(&key, Expected::Anything), not_kept] {
        assert!(scene.change(put(&key, Expected::Absent, "1")).await.is_some());
        assert_eq!(scene.change(gone.clone()).await, Some(0), "{gone:?}");
        assert_eq!(scene.read("a").await, None);
        assert!(scene.names(10).await.is_empty(), "what is gone is not listed");
        assert_eq!(scene.change(gone).await, Some(0), "nothing can be removed, too");
    }
}

/// Changes are made each for itself and answered in their order; what is read is, too.
pub async fn notes_are_answered_in_their_order(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let version = scene.put("b", "1").await;
    let [a, b, c] = ["a", "b", "c"].map(|name| scene.key(name));
    let changes = [
        put(&c, Expected::Absent, "3"),
        put(&b, Expected::Version(version + 9), "2"),
        removal(&a, Expected::Anything),
        put(&a, Expected::Version(1), "1"),
    ];
    let outcomes = scene.write(&changes).await;
    let WriteOutcome::Written(third) = outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(outcomes[1..], [WriteOutcome::Conflict, WriteOutcome::Written(0), WriteOutcome::Conflict]);
    let second = Some(Note { version, value: "1".into() });
    let third = Some(Note { version: third, value: "3".into() });
    let read = scene.read_all(&[c.clone(), a, b.clone(), c]).await;
    assert_eq!(read, [third.clone(), None, second, third]);
}

/// The changes of one note in one call are made in their order.
pub async fn one_call_can_change_a_note_twice(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let key = scene.key("a");
    let changes = [
        put(&key, Expected::Absent, "1"),
        put(&key, Expected::Absent, "2"),
        put(&key, Expected::Anything, "3"),
        removal(&key, Expected::Anything),
        put(&key, Expected::Absent, "5"),
    ];
    let outcomes = scene.write(&changes).await;
    assert_eq!(outcomes[1], WriteOutcome::Conflict, "{outcomes:?}");
    assert_eq!(outcomes[3], WriteOutcome::Written(0), "{outcomes:?}");
    let WriteOutcome::Written(version) = outcomes[4] else { panic!("{outcomes:?}") };
    assert_eq!(scene.read("a").await, Some(Note { version, value: "5".into() }));
}

/// Nothing in, nothing out, for notes and sets.
pub async fn no_notes_are_answered_with_nothing(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    assert!(scene.read_all(&[]).await.is_empty());
    assert!(scene.write(&[]).await.is_empty());
    assert!(scene.gather(&[]).await.is_empty());
    assert!(scene.gathered(&scene.key("a"), 3..3).await.is_empty());
}

/// Names of every allowed character and length are names, and none is taken for another one.
pub async fn every_allowed_name_is_a_name(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let letters: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain("._-:".chars()).collect();
    let long = ["x".repeat(255), "x".repeat(254), format!("{}y", "x".repeat(254))];
    let odd = ["a", "A", ".", "..", ":", "::", "a:b", "a:b:", "a-b", "a_b", "-1", "0", "00", "null", "set:a", "note:a"];
    let names: Vec<String> = odd.map(str::to_owned).into_iter().chain(long).chain([letters]).collect();
    for name in &names {
        assert!(scene.change(put(&scene.key(name), Expected::Absent, name.clone())).await.is_some(), "{name}");
    }
    for name in &names {
        assert_eq!(scene.read(name).await.map(|note| note.value), Some(name.clone().into()), "{name}");
    }
}

/// The same name on another shelf is another note.
pub async fn shelves_are_apart(backend: Arc<dyn Backend>) {
    let one = Scene::new(backend);
    // A shelf whose name begins with that of the first.
    let other = Scene { shelf: format!("{}x", one.shelf).leak(), ..one.clone() };
    one.put("a", "1").await;
    assert_eq!(other.read("a").await, None);
    assert!(other.names(10).await.is_empty());
    other.put("a", "2").await;
    other.put("b", "2").await;
    assert_eq!(one.read("a").await.map(|note| note.value), Some("1".into()));
    assert_eq!(one.names(10).await, ["a"]);
    assert_eq!(one.change(removal(&one.key("a"), Expected::Anything)).await, Some(0));
    assert_eq!(other.names(10).await, ["a", "b"]);
}

/// A note and a set of the same name are two things, and only the note is listed.
pub async fn notes_and_sets_are_apart(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let key: NoteKey = scene.key("a");
    assert_eq!(scene.gather(&[at(&key, 0, "place"), at(&scene.key("b"), 0, "place")]).await, [1, 1]);
    assert_eq!(scene.read("a").await, None);
    assert!(scene.change(put(&key, Expected::Absent, "note")).await.is_some());
    assert_eq!(scene.names(10).await, ["a"]);
    assert_eq!(scene.change(removal(&key, Expected::Anything)).await, Some(0));
    assert_eq!(scene.gathered(&key, 0..1).await, [Some("place".into())]);
}

/// A thousand notes can be written and read in one call.
pub async fn a_thousand_notes_in_one_call(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let keys: Vec<NoteKey> = (0..1_000).map(|number| scene.key(number.to_string())).collect();
    let changes: Vec<NoteChange> = keys.iter().map(|key| put(key, Expected::Absent, key.name().to_owned())).collect();
    let outcomes = scene.write(&changes).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, WriteOutcome::Written(1..))), "{outcomes:?}");
    for (key, note) in keys.iter().zip(scene.read_all(&keys).await) {
        assert_eq!(note.map(|note| note.value), Some(key.name().to_owned().into()));
    }
}
