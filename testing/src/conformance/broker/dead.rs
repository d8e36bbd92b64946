//! Dead letters: listed, complete, and put back.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_core::{Broker, Clock, Location, Message, Progress, Schedule, TaskId};

use super::scene::{LONG, Scene, ids, message_of};
use crate::TokioClock;
use crate::conformance::{distance, millis};
use crate::fixture;

/// A dead letter is listed with its reason, its counts, its time, and the message as it was.
pub async fn a_dead_letter_is_listed_complete(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = Message {
        options: fixture::every_option(),
        unknown: vec![("x-later".to_owned(), "1".to_owned())],
        ..fixture::message(&scene.queue, fixture::binary())
    };
    scene.publish(std::slice::from_ref(&message)).await;
    let delivery = scene.take_one(LONG).await;
    let reason = "no retry left: \"quoted\"\n% Gödel";
    scene.bury(std::slice::from_ref(&delivery), reason).await;
    scene.nothing().await;
    scene.is_at(&message.id, Some(Location::Dead)).await;
    let letters = scene.dead_letters(10).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!((&letter.id, letter.reason.as_str()), (&message.id, reason));
    assert_eq!(letter.progress, Progress { failures: 1, ..Progress::default() });
    let away = distance(letter.died_at, TokioClock.now());
    assert!(away < millis(60_000), "it died just now, not {away:?} away");
    let content = letter.content.as_ref().expect("the message can be read");
    assert_eq!(content, &Message { schedule: Schedule::Now, ..message });
}

/// Pages show every letter once, the oldest first, although many died at the same moment.
pub async fn pages_show_every_dead_letter_once(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 25);
    scene.publish(&messages).await;
    scene.bury(&scene.take(25, LONG).await, "reason").await;
    let letters = scene.dead_letters(10).await;
    assert!(letters.is_sorted_by_key(|letter| letter.died_at), "the oldest come first");
    let expected: BTreeSet<&TaskId> = messages.iter().map(|message| &message.id).collect();
    assert_eq!(letters.len(), 25);
    assert_eq!(letters.iter().map(|letter| &letter.id).collect::<BTreeSet<_>>(), expected);
}

/// A queue without dead letters has one empty page.
pub async fn without_dead_letters_the_page_is_empty(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    assert!(scene.dead_letters(10).await.is_empty());
}

/// A replayed letter runs again with fresh counts and a greater token, and is no dead letter any more.
pub async fn a_replayed_dead_letter_runs_again(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [one, two] = scene.publish_each(["1", "2"]).await;
    let taken = scene.take(2, LONG).await;
    scene.bury(&taken, "reason").await;
    let unknown = fixture::task_id();
    let replayed = scene.broker.replay(&scene.queue, &[unknown, two.clone()]).await;
    assert_eq!(replayed.expect("replay answers"), 1, "one of the two was a dead letter");
    let again = scene.take_one(LONG).await;
    assert_eq!((&again.receipt.id, again.progress), (&two, Progress::default()));
    assert_eq!(message_of(&again), message_of(&taken[1]));
    assert!(again.receipt.token > taken[1].receipt.token, "or its result would be refused");
    scene.acknowledge(&again).await;
    let left = scene.dead_letters(10).await;
    assert_eq!(left.into_iter().map(|letter| letter.id).collect::<Vec<_>>(), [one]);
}

/// Replaying what waits or runs changes nothing.
pub async fn only_dead_letters_are_replayed(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [running, waiting] = scene.publish_each(["1", "2"]).await;
    let delivery = scene.take_one(LONG).await;
    assert_eq!(delivery.receipt.id, running);
    let replayed = scene.broker.replay(&scene.queue, &[running, waiting.clone()]).await;
    assert_eq!(replayed.expect("replay answers"), 0);
    assert_eq!(ids(&scene.take(1, LONG).await), [waiting]);
    scene.nothing().await;
    scene.acknowledge(&delivery).await;
}
