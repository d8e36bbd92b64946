//! Waiting for messages.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use windlass_core::Broker;

use super::scene::{LONG, Scene};
use crate::conformance::{millis, pass};

/// How soon a waiter must have been woken; far below the time that it would wait otherwise.
const PROMPT: Duration = Duration::from_secs(4);
const WAIT: Duration = Duration::from_secs(30);

/// A waiter is woken by a message that is published while it waits.
pub async fn a_waiter_is_woken_by_a_message(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    is_woken(&scene, &scene).await;
}

/// Who waits at one of them is woken by what the other publishes.
pub(super) async fn is_woken(waiting: &Scene, publishing: &Scene) {
    let publisher = async {
        // Long enough that the waiter waits; if it does not yet, the test is weaker, not wrong.
        pass(millis(150)).await;
        let start = Instant::now();
        publishing.publish_each(["1"]).await;
        start
    };
    let consumer = async {
        while waiting.fetch(1, LONG).await.is_empty() {
            waiting.wait(WAIT).await;
        }
        Instant::now()
    };
    let (start, end) = tokio::join!(publisher, consumer);
    assert!(end.duration_since(start) < PROMPT, "the message came after {:?}", end.duration_since(start));
}

/// A message that waits already is told at once.
pub async fn a_waiting_message_is_told_at_once(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    timeout(PROMPT, scene.wait(WAIT)).await.expect("there is a message");
    scene.take_one(LONG).await;
}

/// Without a message, waiting ends after its time.
pub async fn waiting_ends_after_its_time(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    timeout(millis(300) + PROMPT, scene.wait(millis(300))).await.expect("waiting ends");
    scene.nothing().await;
}

/// A future of `ready` can be dropped at any time and takes nothing with it.
pub async fn a_dropped_wait_takes_nothing(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    for _ in 0..5 {
        // It may also answer early, which is not what is tested here.
        let _ = timeout(millis(20), scene.broker.ready(&scene.queue, WAIT)).await;
    }
    let [id] = scene.publish_each(["1"]).await;
    assert_eq!(scene.take_one(LONG).await.receipt.id, id);
    scene.nothing().await;
}

/// Of many waiters, one message wakes a few at most.
pub async fn one_message_does_not_wake_everybody(broker: Arc<dyn Broker>) {
    const WAITERS: usize = 16;
    let scene = Scene::new(broker);
    let wait = millis(1_500);
    let mut waiters = JoinSet::new();
    for _ in 0..WAITERS {
        let scene = scene.clone();
        waiters.spawn(async move {
            let start = Instant::now();
            scene.broker.ready(&scene.queue, wait).await.expect("ready answers");
            let woken = start.elapsed() < wait.mul_f64(0.9);
            (woken, scene.fetch(1, LONG).await.len())
        });
    }
    pass(millis(300)).await;
    scene.publish_each(["1"]).await;
    let ended = waiters.join_all().await;
    let woken = ended.iter().filter(|(woken, _)| *woken).count();
    assert!((1..=WAITERS / 2).contains(&woken), "{woken} of {WAITERS} waiters were woken by one message");
    assert_eq!(ended.iter().map(|(_, fetched)| fetched).sum::<usize>(), 1, "one of them got it");
}
