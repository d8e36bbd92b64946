//! Everything ends.

use std::sync::Arc;

use windlass_core::{Backend, Expected, NoteChange, Place, Retention};

use super::scene::{SHORT, Scene, at, put};
use crate::conformance::{PATIENCE, eventually, pass};

/// A value that is kept for this long.
fn kept(scene: &Scene, keep: Retention) -> NoteChange {
    NoteChange { keep, ..put(&scene.key("a"), Expected::Anything, "1") }
}

/// A note ends with its retention: it is neither read nor listed, and can be written as if it had never been.
pub async fn a_note_ends_with_its_retention(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let version = scene.change(kept(&scene, Retention::For(SHORT))).await.expect("it is written");
    eventually("the note ends", PATIENCE, || async { scene.read("a").await.is_none().then_some(()) }).await;
    assert!(scene.names(10).await.is_empty(), "what has ended is not listed");
    let key = scene.key("a");
    assert_eq!(scene.change(put(&key, Expected::Version(version), "2")).await, None);
    assert!(scene.change(put(&key, Expected::Absent, "3")).await.is_some());
}

/// A note that is written anew is kept for as long as that says, longer or shorter than before.
pub async fn writing_anew_changes_the_retention(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let short = Retention::For(SHORT);
    for longer in [Retention::Forever, Retention::For(SHORT * 100)] {
        scene.change(kept(&scene, short)).await;
        scene.change(kept(&scene, longer)).await;
        pass(SHORT * 2).await;
        assert!(scene.read("a").await.is_some(), "{longer:?} is longer than {short:?}");
        assert_eq!(scene.names(10).await, ["a"]);
        scene.change(kept(&scene, short)).await;
        eventually("the note ends", PATIENCE, || async { scene.read("a").await.is_none().then_some(()) }).await;
    }
}

/// A note that is kept for ever is kept, and a conflict does not change for how long.
pub async fn a_note_for_ever_is_kept(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    scene.change(kept(&scene, Retention::Forever)).await;
    let refused = NoteChange { expected: Expected::Absent, ..kept(&scene, Retention::For(SHORT)) };
    assert_eq!(scene.change(refused).await, None);
    pass(SHORT * 2).await;
    assert!(scene.read("a").await.is_some());
    let removal = NoteChange { value: None, ..kept(&scene, Retention::Forever) };
    assert_eq!(scene.change(removal).await, Some(0));
}

/// A set ends with its time, as a whole, and can be filled anew.
pub async fn a_set_ends_with_its_time(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let set = scene.key("set");
    let places = [0, 1, 2].map(|place| Place { keep: SHORT, ..at(&set, place, "1") });
    scene.gather(&places).await;
    let gone = || async { (scene.gathered(&set, 0..3).await == [None, None, None]).then_some(()) };
    eventually("the set ends", PATIENCE, gone).await;
    assert_eq!(scene.fill(&set, 1, "2").await, 1, "an ended set is empty");
    assert_eq!(scene.gathered(&set, 0..3).await, [None, Some("2".into()), None]);
}

/// The time of a set is made longer by every place, and shorter by none.
pub async fn the_time_of_a_set_is_never_shortened(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let [one, other] = ["one", "other"].map(|name| scene.key(name));
    scene.gather(&[Place { keep: SHORT, ..at(&one, 0, "1") }, at(&other, 0, "1")]).await;
    // A place that is filled already counts, too.
    scene.gather(&[at(&one, 0, "2"), Place { keep: SHORT, ..at(&other, 1, "2") }]).await;
    pass(SHORT * 2).await;
    assert_eq!(scene.gathered(&one, 0..1).await, [Some("1".into())]);
    assert_eq!(scene.gathered(&other, 0..2).await, [Some("1".into()), Some("2".into())]);
}
