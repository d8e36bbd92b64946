//! Dead letters: listed, complete, and put back.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_core::{
    Broker, Clock, ErrorKind, Location, Message, Priority, Progress, Replay, Schedule, Settlement, TaskId,
};

use super::scene::{LONG, Scene, dead, ids, message_of};
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
    let replayed = scene.broker.replay(&scene.queue, &[unknown.into(), two.clone().into()]).await;
    assert_eq!(replayed.expect("replay answers"), 1, "one of the two was a dead letter");
    let again = scene.take_one(LONG).await;
    assert_eq!((&again.receipt.id, again.progress), (&two, Progress::default()));
    assert_eq!(message_of(&again), message_of(&taken[1]));
    assert!(again.receipt.token > taken[1].receipt.token, "or its result would be refused");
    scene.acknowledge(&again).await;
    let left = scene.dead_letters(10).await;
    assert_eq!(left.into_iter().map(|letter| letter.id).collect::<Vec<_>>(), [one]);
}

/// A letter can be replayed with another message in its place, under its id and with fresh counts.
pub async fn an_edited_dead_letter_runs_in_its_place(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [one, two] = scene.publish_each(["1", "2"]).await;
    let progress = Progress { failures: 4, losses: 2, max_retries: Some(9), ..Progress::default() };
    for delivery in scene.take(2, LONG).await {
        scene.settle_one(Settlement { progress, ..dead(&delivery, "reason") }).await;
    }
    let edited = Message {
        options: fixture::every_option(),
        unknown: vec![("x-later".to_owned(), "1".to_owned())],
        ..Message { id: two.clone(), ..fixture::message(&scene.queue, fixture::binary()) }
    };
    let letters = [Replay { id: two.clone(), edited: Some(edited.clone()) }, one.clone().into()];
    assert_eq!(scene.broker.replay(&scene.queue, &letters).await.expect("replay answers"), 2);
    for delivery in scene.take(2, LONG).await {
        assert_eq!(delivery.progress, Progress::default());
        match message_of(&delivery).id == two {
            true => assert_eq!(message_of(&delivery), &edited),
            false => assert_eq!((&delivery.receipt.id, &message_of(&delivery).payload[..]), (&one, &b"1"[..])),
        }
    }
    scene.nothing().await;
    assert!(scene.dead_letters(10).await.is_empty());
}

/// A letter that is edited has the priority of its new message.
pub async fn an_edited_dead_letter_has_its_new_priority(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [one, two] = scene.publish_urgent([Priority::Normal, Priority::Normal]).await;
    scene.bury(&scene.take(2, LONG).await, "reason").await;
    let edited = |id: &TaskId, priority| Replay {
        id: id.clone(),
        edited: Some(Message { id: id.clone(), ..scene.urgent(priority) }),
    };
    let letters = [edited(&one, Priority::Low), edited(&two, Priority::High)];
    assert_eq!(scene.broker.replay(&scene.queue, &letters).await.expect("replay answers"), 2);
    let [normal] = scene.publish_urgent([Priority::Normal]).await;
    scene.arrived().await;
    assert_eq!(ids(&scene.take(3, LONG).await), [two, normal, one]);
}

/// An edited message with a payload above the limit is refused, and nothing is replayed.
pub async fn an_edited_dead_letter_is_checked(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [one, two] = scene.publish_each(["1", "2"]).await;
    scene.bury(&scene.take(2, LONG).await, "reason").await;
    let limit = scene.broker.capabilities().max_payload;
    let large = Message { id: two.clone(), ..fixture::message(&scene.queue, vec![7; limit + 1]) };
    let letters = [one.into(), Replay { id: two, edited: Some(large) }];
    let error = scene.broker.replay(&scene.queue, &letters).await.expect_err("the payload is too large");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(&limit.to_string()), "the text names {limit}: {error}");
    scene.nothing().await;
    assert_eq!(scene.dead_letters(10).await.len(), 2);
}

/// A discarded letter is gone for good; the answer says how many there were, and the others stay.
pub async fn a_discarded_dead_letter_is_gone(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 3);
    scene.publish(&messages).await;
    scene.bury(&scene.take(3, LONG).await, "reason").await;
    let [one, two, three] = [0, 1, 2].map(|index: usize| messages[index].id.clone());
    let discarded = scene.broker.discard(&scene.queue, &[two.clone(), fixture::task_id(), one.clone()]).await;
    assert_eq!(discarded.expect("discard answers"), 2, "two of the three were dead letters");
    let left: Vec<TaskId> = scene.dead_letters(10).await.into_iter().map(|letter| letter.id).collect();
    assert_eq!(left, [three]);
    scene.is_at(&one, None).await;
    let replayed = scene.broker.replay(&scene.queue, &[one.into(), two.into()]).await;
    assert_eq!(replayed.expect("replay answers"), 0, "they are gone");
    scene.nothing().await;
    // Its id is free again.
    scene.publish(&messages[..1]).await;
    assert_eq!(scene.take_one(LONG).await.receipt.id, messages[0].id);
}

/// Discarding what waits or runs changes nothing.
pub async fn only_dead_letters_are_discarded(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [running, waiting] = scene.publish_each(["1", "2"]).await;
    let delivery = scene.take_one(LONG).await;
    let discarded = scene.broker.discard(&scene.queue, &[running.clone(), waiting.clone()]).await;
    assert_eq!(discarded.expect("discard answers"), 0);
    assert_eq!(scene.broker.discard(&scene.queue, &[]).await.expect("discard answers"), 0);
    assert_eq!(ids(&scene.take(1, LONG).await), [waiting]);
    scene.acknowledge(&delivery).await;
}

/// Replaying what waits or runs changes nothing.
pub async fn only_dead_letters_are_replayed(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [running, waiting] = scene.publish_each(["1", "2"]).await;
    let delivery = scene.take_one(LONG).await;
    assert_eq!(delivery.receipt.id, running);
    let replayed = scene.broker.replay(&scene.queue, &[running.into(), waiting.clone().into()]).await;
    assert_eq!(replayed.expect("replay answers"), 0);
    assert_eq!(ids(&scene.take(1, LONG).await), [waiting]);
    scene.nothing().await;
    scene.acknowledge(&delivery).await;
}
