//! What is urgent comes first.
//!
//! Brokers without leases push what waits to their consumers, one after the other; so these tests
//! give them the time to have done so ([`Scene::arrived`]) before they look at the order.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::Priority::{Critical, High, Low, Normal};
use windlass_core::{Broker, Disposition, Message, Options, Priority, Schedule, Settlement, TaskId};

use super::scene::{LONG, SHORT, Scene, dead, ids, message_of, retry, settlement};
use crate::conformance::{millis, pass};

impl Scene {
    pub(super) fn urgent(&self, priority: Priority) -> Message {
        Message { options: Options { priority: Some(priority), ..Options::default() }, ..self.message("1") }
    }

    /// Publishes messages of these priorities in one call and answers their ids.
    pub(super) async fn publish_urgent<const N: usize>(&self, priorities: [Priority; N]) -> [TaskId; N] {
        let messages = priorities.map(|priority| self.urgent(priority));
        self.publish(&messages).await;
        messages.map(|message| message.id)
    }

    /// The ids of the next `count` messages, once they have had the time to arrive.
    async fn next_ids(&self, count: usize) -> Vec<TaskId> {
        self.arrived().await;
        ids(&self.take(count, LONG).await)
    }
}

/// A message of every priority arrives, and with its priority.
pub async fn every_priority_arrives(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let published = scene.publish_urgent(Priority::ALL).await;
    let taken = scene.take(4, LONG).await;
    for (id, priority) in published.iter().zip(Priority::ALL) {
        let delivery = taken.iter().find(|delivery| delivery.receipt.id == *id).expect("every message comes");
        assert_eq!(message_of(delivery).priority(), priority);
    }
    scene.nothing().await;
}

/// Of what waits, the most urgent comes first, in whatever order and calls it was published.
pub async fn the_most_urgent_comes_first(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [normal, low, critical, high] = scene.publish_urgent([Normal, Low, Critical, High]).await;
    let [low_later] = scene.publish_urgent([Low]).await;
    let [critical_later] = scene.publish_urgent([Critical]).await;
    let unsaid = scene.publish_each(["without a priority is normal"]).await[0].clone();
    let expected = [critical, critical_later, high, normal, unsaid, low, low_later];
    assert_eq!(scene.next_ids(7).await, expected);
}

/// Within a priority, first in, first out.
pub async fn within_a_priority_the_oldest_comes_first(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages: Vec<Message> = (0..200).map(|number| scene.urgent(Priority::ALL[number * 7 % 4])).collect();
    for batch in messages.chunks(40) {
        scene.publish(batch).await;
    }
    let came = scene.next_ids(200).await;
    for priority in Priority::ALL {
        let of_it = messages.iter().filter(|message| message.priority() == priority);
        let expected: Vec<&TaskId> = of_it.map(|message| &message.id).collect();
        let came: Vec<&TaskId> = came.iter().filter(|id| expected.contains(id)).collect();
        assert_eq!(came, expected, "{priority}");
    }
}

/// An urgent message overtakes what waits already.
pub async fn an_urgent_message_overtakes_what_waits(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [first, second, third] = scene.publish_urgent([Normal, Normal, Normal]).await;
    assert_eq!(scene.next_ids(1).await, [first]);
    let [urgent] = scene.publish_urgent([High]).await;
    assert_eq!(scene.next_ids(3).await, [urgent, second, third]);
}

/// A priority outlives a delay.
pub async fn a_delayed_message_keeps_its_priority(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let delay = scene.span(millis(200));
    let messages =
        [Low, Normal, Critical].map(|priority| Message { schedule: Schedule::After(delay), ..scene.urgent(priority) });
    scene.publish(&messages).await;
    scene.due_after(delay).await;
    let [low, normal, critical] = messages.map(|message| message.id);
    assert_eq!(scene.next_ids(3).await, [critical, normal, low]);
}

/// A priority outlives a retry, with a pause and without.
pub async fn a_retry_keeps_its_priority(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let expected = scene.publish_urgent([Critical, Normal, Low]).await;
    for pause in [Duration::ZERO, scene.span(millis(200))] {
        scene.arrived().await;
        let taken = scene.take(3, LONG).await;
        assert_eq!(ids(&taken), expected);
        // The least urgent is given back first.
        let retries: Vec<Settlement> = taken.iter().rev().map(|delivery| retry(delivery, pause)).collect();
        scene.settle(&retries).await;
        scene.due_after(pause).await;
    }
    assert_eq!(scene.next_ids(3).await, expected);
}

/// What is released goes to the head of its priority, not before what is more urgent.
pub async fn a_release_goes_to_the_head_of_its_priority(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [first, second, third] = scene.publish_urgent([Normal, Normal, Normal]).await;
    scene.arrived().await;
    let taken = scene.take(2, LONG).await;
    assert_eq!(ids(&taken), [first.clone(), second.clone()]);
    let [urgent] = scene.publish_urgent([High]).await;
    let released: Vec<Settlement> = taken.iter().map(|one| settlement(one, Disposition::Release)).collect();
    scene.settle(&released).await;
    assert_eq!(scene.next_ids(4).await, [urgent, first, second, third]);
}

/// A priority outlives a lost lease: it comes back at the head of its priority.
pub async fn a_lost_lease_keeps_the_priority(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [normal] = scene.publish_urgent([Normal]).await;
    let lost = scene.take_one(SHORT).await;
    let [urgent, waiting] = scene.publish_urgent([Critical, Normal]).await;
    let lost_too = scene.take_one(SHORT).await;
    assert_eq!([lost.receipt.id, lost_too.receipt.id], [normal.clone(), urgent.clone()]);
    pass(SHORT * 2).await;
    assert_eq!(scene.next_ids(3).await, [urgent, normal, waiting]);
}

/// A priority outlives the dead letters: what is replayed has it again.
pub async fn a_replayed_dead_letter_keeps_its_priority(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [normal, urgent] = scene.publish_urgent([Normal, Critical]).await;
    let taken = scene.take(2, LONG).await;
    scene.settle(&[dead(&taken[0], "reason"), dead(&taken[1], "reason")]).await;
    let replayed = scene.broker.replay(&scene.queue, &[normal.clone().into(), urgent.clone().into()]).await;
    assert_eq!(replayed.expect("replay answers"), 2);
    assert_eq!(scene.next_ids(2).await, [urgent, normal]);
}
