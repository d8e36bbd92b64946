//! Places of a fetch that are kept for the less urgent.

use std::sync::Arc;

use windlass_core::Priority::{Critical, High, Low, Normal};
use windlass_core::{Broker, FetchRequest, Priority, Reserve, TaskId};

use super::scene::{LONG, Scene, ids, message_of};

impl Scene {
    /// Claims with these places kept, and answers the priorities that came, in their order.
    async fn reserved(&self, max: usize, reserve: Reserve) -> Vec<(Priority, TaskId)> {
        self.arrived().await;
        let request = FetchRequest { reserve, ..FetchRequest::new(self.queue.clone(), max, LONG) };
        let deliveries = self.broker.fetch(&request).await.expect("fetch answers");
        let urgencies = deliveries.iter().map(|delivery| message_of(delivery).priority());
        urgencies.zip(ids(&deliveries)).collect()
    }
}

fn priorities(came: &[(Priority, TaskId)]) -> Vec<Priority> {
    came.iter().map(|(priority, _)| *priority).collect()
}

/// Places that are kept for a priority go to its messages, though more urgent ones wait.
pub async fn kept_places_go_to_the_less_urgent(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_urgent([Critical; 6]).await;
    scene.publish_urgent([Normal, Normal, Low, Low, Low]).await;
    let came = scene.reserved(5, Reserve::NONE.with(Low, 2).with(Normal, 1)).await;
    assert_eq!(priorities(&came), [Critical, Critical, Normal, Low, Low]);
}

/// Places that are kept for nobody who waits go to the most urgent.
pub async fn kept_places_that_nobody_needs_are_used(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_urgent([High, High, High, High, Low]).await;
    let came = scene.reserved(4, Reserve::NONE.with(Low, 3).with(Normal, 2).with(Critical, 1)).await;
    assert_eq!(priorities(&came), [High, High, High, Low]);
    assert_eq!(priorities(&scene.reserved(4, Reserve::NONE.with(Low, 4)).await), [High]);
}

/// If more places are kept than are asked for, those of the most urgent are given first.
pub async fn kept_places_beyond_max_go_to_the_most_urgent(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_urgent([Low, Low, Normal, Normal, Normal, Critical, Critical, Critical]).await;
    let reserve = Reserve::NONE.with(Low, 2).with(Normal, 2).with(Critical, 2);
    assert_eq!(priorities(&scene.reserved(3, reserve).await), [Critical, Critical, Normal]);
}

/// Whatever is kept for whom, the oldest of each priority is delivered, the most urgent first; and the rest
/// stays in its order.
pub async fn kept_places_change_no_order(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [low, normal, critical, high] = scene.publish_urgent([Low, Normal, Critical, High]).await;
    let [low2, normal2, critical2, high2] = scene.publish_urgent([Low, Normal, Critical, High]).await;
    let each = Priority::ALL.into_iter().fold(Reserve::NONE, |reserve, priority| reserve.with(priority, 1));
    let came = scene.reserved(5, each).await;
    let came: Vec<TaskId> = came.into_iter().map(|(_, id)| id).collect();
    assert_eq!(came, [critical, critical2, high, normal, low]);
    scene.arrived().await;
    assert_eq!(ids(&scene.take(3, LONG).await), [high2, normal2, low2]);
}
