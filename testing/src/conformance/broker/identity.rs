//! One id is one task.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Broker, Disposition, Message, PublishOutcome, Schedule, Settlement};

use super::scene::{LONG, Scene, message_of, retry, settlement};
use crate::conformance::{PATIENCE, eventually};

/// Publishes the same id with another payload, which must be refused.
async fn is_refused(scene: &Scene, message: &Message, when: &str) {
    let again = Message { payload: "changed".into(), ..message.clone() };
    let outcomes = scene.outcomes(&[again]).await;
    assert!(matches!(outcomes[..], [PublishOutcome::Duplicate]), "while {when}: {outcomes:?}");
}

/// While a task waits, runs, waits for its retry or is dead, its id is taken, and nothing changes.
pub async fn an_id_is_taken_while_its_task_is_there(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = scene.message("original");
    scene.publish(std::slice::from_ref(&message)).await;
    is_refused(&scene, &message, "it waits").await;
    let first = scene.take_one(LONG).await;
    is_refused(&scene, &message, "it runs").await;
    scene.nothing().await;
    scene.settle_one(retry(&first, scene.span(Duration::from_millis(300)))).await;
    is_refused(&scene, &message, "it waits for its retry").await;
    let second = scene.take_one(LONG).await;
    assert_eq!(second.progress.failures, 1);
    assert_eq!(message_of(&second).payload, "original");
    if scene.broker.capabilities().dead_letters {
        scene.bury(&[second], "reason").await;
        is_refused(&scene, &message, "it is dead").await;
        assert_eq!(scene.dead_letters(10).await.len(), 1);
    }
}

/// While a task is delayed, its id is taken.
pub async fn an_id_is_taken_while_its_task_is_delayed(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = Message { schedule: Schedule::After(Duration::from_secs(3_600)), ..scene.message("1") };
    scene.publish(std::slice::from_ref(&message)).await;
    is_refused(&scene, &Message { schedule: Schedule::Now, ..message }, "it is delayed").await;
    scene.nothing().await;
}

/// Of two messages with one id in one call, the first is taken.
pub async fn one_call_can_hold_an_id_twice(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let first = scene.message("first");
    let second = Message { payload: "second".into(), ..first.clone() };
    let outcomes = scene.outcomes(&[first, second]).await;
    assert!(matches!(outcomes[..], [PublishOutcome::Accepted, PublishOutcome::Duplicate]), "{outcomes:?}");
    assert_eq!(message_of(&scene.take_one(LONG).await).payload, "first");
    scene.nothing().await;
}

/// Many that publish one id at the same moment enqueue one task.
pub async fn an_id_published_by_many_at_once_is_one_task(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = scene.message("1");
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (scene, message) = (scene.clone(), message.clone());
        publishers.spawn(async move { scene.outcomes(&[message]).await.remove(0).is_accepted() });
    }
    let accepted = publishers.join_all().await.into_iter().filter(|accepted| *accepted).count();
    assert_eq!(accepted, 1);
    scene.take_one(LONG).await;
    scene.nothing().await;
}

/// An id is remembered after the end for as long as the settlement says, and free again afterwards.
pub async fn an_id_is_remembered_after_the_end(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [long, short] = [Duration::from_secs(600), Duration::from_millis(300)]
        .map(|remember| (Message { remember: Some(remember), ..scene.message("1") }, remember));
    for (message, remember) in [&long, &short] {
        scene.publish(std::slice::from_ref(message)).await;
        let delivery = scene.take_one(LONG).await;
        let remember = Some(*remember);
        scene.settle_one(Settlement { remember, ..settlement(&delivery, Disposition::Acknowledge) }).await;
    }
    eventually("the short memory ends", PATIENCE, || async {
        let outcomes = scene.outcomes(std::slice::from_ref(&short.0)).await;
        outcomes[0].is_accepted().then_some(())
    })
    .await;
    is_refused(&scene, &long.0, "it is remembered").await;
    assert_eq!(scene.take_one(LONG).await.receipt.id, short.0.id);
    scene.nothing().await;
}

/// An id that is not to be remembered is free at once.
pub async fn an_id_that_is_not_remembered_is_free_at_once(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = scene.message("1");
    for _ in 0..3 {
        scene.publish(std::slice::from_ref(&message)).await;
        let delivery = scene.take_one(LONG).await;
        assert_eq!(delivery.receipt.id, message.id);
        scene.acknowledge(&delivery).await;
    }
}
