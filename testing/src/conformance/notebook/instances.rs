//! Several instances of an adapter over one store, as several processes have them.

use std::sync::Arc;

use windlass_core::{Backend, Expected};

use super::close::is_closed;
use super::gather::fill_at_once;
use super::race::one_wins;
use super::scene::{Scene, put, removal};
use crate::conformance::{millis, pass};
use crate::fixture;

/// That many callers, on one instance and the other.
fn by_turns(one: &Scene, other: &Scene, count: usize) -> Vec<Scene> {
    [one, other].into_iter().cycle().take(count).cloned().collect()
}

/// What one instance writes, another one reads, lists, changes and gathers.
pub async fn what_one_notebook_holds_others_see(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let (one, other) = Scene::pair(one, other);
    let version = one.put("a", "1").await;
    let note = other.read("a").await.expect("it is there");
    assert_eq!((note.version, &note.value[..]), (version, &b"1"[..]));
    assert_eq!(other.names(10).await, ["a"]);
    let written = other.change(put(&other.key("a"), Expected::Version(version), "2")).await;
    assert!(written.is_some_and(|written| written > version), "{written:?} after {version}");
    assert_eq!(one.change(put(&one.key("a"), Expected::Version(version), "3")).await, None, "it has changed");
    one.change(removal(&one.key("a"), Expected::Anything)).await;
    assert_eq!(other.read("a").await, None);
    one.fill(&one.key("set"), 1, "1").await;
    assert_eq!(other.gathered(&other.key("set"), 0..2).await, [None, Some("1".into())]);
}

/// Of many writers on two instances that expect the same, exactly one writes.
pub async fn of_writers_on_two_instances_one_wins(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let (one, other) = Scene::pair(one, other);
    one_wins(&by_turns(&one, &other, 16)).await;
}

/// Places that are filled on two instances at the same moment are counted together.
pub async fn places_filled_on_two_instances_are_counted_together(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let (one, other) = Scene::pair(one, other);
    let set = one.key("set");
    let sizes = fill_at_once(&by_turns(&one, &other, 64), &set).await;
    assert_eq!(sizes, (1..=64).collect::<Vec<u32>>());
}

/// A signal of one instance is heard on the others.
pub async fn a_signal_is_heard_on_other_instances(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let (one, other) = Scene::pair(one, other);
    let topic = fixture::topic();
    let (mut here, mut there) = (one.listen(&topic).await, other.listen(&topic).await);
    for number in 0..20 {
        let sender = if number % 2 == 0 { &one } else { &other };
        sender.signal(&topic, number.to_string()).await;
        assert_eq!(here.signal().await, number.to_string());
        assert_eq!(there.signal().await, number.to_string());
    }
}

/// Closing an instance ends its own listening and leaves that of the others alone.
pub async fn closing_one_notebook_leaves_the_others(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let (one, other) = Scene::pair(one, other);
    let topic = fixture::topic();
    let (mut here, mut there) = (one.listen(&topic).await, other.listen(&topic).await);
    let closing = async {
        pass(millis(100)).await;
        one.backend.close().await;
    };
    let (ended, ()) = tokio::join!(here.end(), closing);
    is_closed("next", ended);
    other.signal(&topic, "1").await;
    other.is_told(&mut there, "1").await;
    other.put("a", "1").await;
}
