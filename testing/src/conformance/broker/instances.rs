//! Several instances of an adapter over one store, as several processes have them.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_core::{Broker, Disposition, Message, Schedule, SettleOutcome, TaskId};

use super::load::consume_all;
use super::scene::{LONG, SHORT, Scene, ids, settlement};
use crate::conformance::{PATIENCE, eventually, millis};
use crate::fixture;

/// Two instances that look at the same queue.
fn scenes(one: Arc<dyn Broker>, other: Arc<dyn Broker>) -> (Scene, Scene) {
    let one = Scene::new(one);
    let other = Scene { broker: other, queue: one.queue.clone() };
    (one, other)
}

/// What one instance publishes, consumers on both get, each message exactly once.
pub async fn consumers_of_two_instances_get_each_message_once(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    const MESSAGES: usize = 1_000;
    let (one, other) = scenes(one, other);
    let consumers = [&one, &other, &one, &other].map(Scene::clone).to_vec();
    let messages = fixture::messages(&one.queue, MESSAGES);
    let publish = async {
        for batch in messages.chunks(100) {
            one.publish(batch).await;
        }
    };
    let (seen, ()) = tokio::join!(consume_all(consumers, MESSAGES), publish);
    assert_eq!(seen.len(), MESSAGES, "some came twice");
    let expected: BTreeSet<&TaskId> = messages.iter().map(|message| &message.id).collect();
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), expected);
    other.nothing().await;
}

/// A claim of one instance holds against the others.
pub async fn a_claim_holds_against_other_instances(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let [id] = one.publish_each(["1"]).await;
    let delivery = one.take_one(LONG).await;
    assert_eq!(delivery.receipt.id, id);
    other.nothing_for(SHORT * 2).await;
    one.acknowledge(&delivery).await;
    other.nothing().await;
}

/// Who waits on one instance is woken by what another one publishes.
pub async fn a_waiter_is_woken_by_another_instance(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    super::ready::is_woken(&other, &one).await;
}

/// Tokens of one task grow, whichever instance claims it.
pub async fn tokens_grow_across_instances(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    one.publish_each(["1"]).await;
    let first = one.take_one(LONG).await;
    one.settle_one(settlement(&first, Disposition::Release)).await;
    one.broker.close().await;
    let second = other.take_one(LONG).await;
    assert_eq!(second.receipt.id, first.receipt.id);
    let [first, second] = [first, second].map(|delivery| delivery.receipt.token);
    assert!(second > first, "{second} after {first}");
}

/// What one instance has not fetched, another one gets, also while the first one fetches no more.
pub async fn what_one_has_not_fetched_the_others_get(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let published = one.publish_each(["1", "2", "3"]).await;
    let first = one.take_one(LONG).await;
    let mut came = BTreeSet::from_iter(ids(&other.take(2, LONG).await));
    came.insert(first.receipt.id);
    assert_eq!(came, BTreeSet::from(published));
}

/// What a lost instance held comes to the others when its leases have run out.
pub async fn a_lost_instance_leaves_its_claims(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let messages = fixture::messages(&one.queue, 10);
    one.publish(&messages).await;
    let lost = one.take(10, SHORT).await;
    drop(one);
    let again = other.take(10, LONG).await;
    assert_eq!(ids(&again), ids(&lost));
    assert!(again.iter().all(|delivery| delivery.progress.losses == 1), "{again:?}");
}

/// What an instance held without leases comes to the others when it is closed, at most one loss counted.
pub async fn a_closed_instance_gives_its_claims_back(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let messages = fixture::messages(&one.queue, 10);
    one.publish(&messages).await;
    one.take(5, LONG).await;
    one.broker.close().await;
    let again = other.take(10, LONG).await;
    let came: BTreeSet<TaskId> = ids(&again).into_iter().collect();
    assert_eq!(came, messages.iter().map(|message| message.id.clone()).collect());
    assert!(again.iter().all(|one| one.progress.losses <= 1 && one.progress.failures == 0), "{again:?}");
}

/// Closing an instance leaves the others alone.
pub async fn closing_one_instance_leaves_the_others(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let [held] = other.publish_each(["1"]).await;
    let delivery = other.take_one(LONG).await;
    one.broker.close().await;
    assert_eq!(delivery.receipt.id, held);
    other.acknowledge(&delivery).await;
    let [id] = other.publish_each(["2"]).await;
    assert_eq!(other.take_one(LONG).await.receipt.id, id);
}

/// The claim that another instance has taken over settles nothing.
pub async fn a_claim_taken_over_settles_nothing(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    one.publish_each(["1"]).await;
    let old = one.take_one(SHORT).await;
    let new = other.take_one(LONG).await;
    let late = [Disposition::Acknowledge, Disposition::DeadLetter].map(|what| settlement(&old, what));
    assert_eq!(one.settle(&late).await, [SettleOutcome::Lost; 2]);
    other.acknowledge(&new).await;
}

/// An id that one instance has published is taken for all.
pub async fn an_id_is_taken_for_all_instances(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let message = one.message("1");
    one.publish(std::slice::from_ref(&message)).await;
    let outcomes = other.outcomes(std::slice::from_ref(&message)).await;
    assert!(!outcomes[0].is_accepted(), "{outcomes:?}");
    other.take_one(LONG).await;
    other.nothing().await;
}

/// A queue that one instance has filled up is full for all.
pub async fn a_full_queue_is_full_for_all_instances(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    one.fill_up(3).await;
    other.is_full(3).await;
    one.take(3, LONG).await;
    other.fill_up(3).await;
    one.is_full(3).await;
}

/// A delayed message outlives the instance that published it.
pub async fn a_delay_outlives_its_publisher(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let message = Message { schedule: Schedule::After(one.span(millis(300))), ..one.message("1") };
    one.publish(std::slice::from_ref(&message)).await;
    one.broker.close().await;
    drop(one);
    assert_eq!(other.take_one(LONG).await.receipt.id, message.id);
}

/// Dead letters of one instance are listed and replayed by another one.
pub async fn dead_letters_belong_to_all_instances(one: Arc<dyn Broker>, other: Arc<dyn Broker>) {
    let (one, other) = scenes(one, other);
    let [id] = one.publish_each(["1"]).await;
    one.bury(&[one.take_one(LONG).await], "reason").await;
    let listed = eventually("the letter is listed", PATIENCE, || async { other.dead_letters(10).await.pop() });
    assert_eq!(listed.await.id, id);
    one.broker.close().await;
    let replayed = other.broker.replay(&other.queue, &[id.clone().into()]).await;
    assert_eq!(replayed.expect("replay answers"), 1);
    assert_eq!(other.take_one(LONG).await.receipt.id, id);
}
