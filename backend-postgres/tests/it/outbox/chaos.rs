//! Ten thousand transactions, half of them rolled back, while relays are killed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use windlass_core::{Broker as _, Delivery, Disposition, FetchRequest, Message, Settlement, State, TaskId};
use windlass_testing::conformance::eventually;
use windlass_testing::fault::{BrokerCall, FaultyBroker};

use super::{Scene, config};

const TRANSACTIONS: usize = 10_000;
const WRITERS: usize = 4;

/// Writes every message in a transaction of its own; answers the ids of those that were committed.
async fn write(scene: Arc<Scene>, messages: Vec<Message>) -> Vec<TaskId> {
    let mut committed = Vec::new();
    for (n, message) in messages.into_iter().enumerate() {
        let mut transaction = scene.pool.begin().await.expect("the server is there");
        scene.outbox.write(&mut *transaction, std::slice::from_ref(&message)).await.expect("the server is there");
        if n % 2 == 0 {
            transaction.commit().await.expect("the server is there");
            committed.push(message.id);
        } else {
            transaction.rollback().await.expect("the server is there");
        }
    }
    committed
}

/// Starts relays and drops each wherever it is after a random moment, until `over`; answers how many.
async fn kill_relays(scene: Arc<Scene>, broker: Arc<FaultyBroker>, over: Arc<AtomicBool>) -> usize {
    let mut killed = 0;
    while !over.load(Ordering::Relaxed) {
        let relays = [scene.relay_to(Arc::clone(&broker) as _), scene.relay_to(Arc::clone(&broker) as _)];
        let calls = broker.calls(BrokerCall::Publish);
        match fastrand::u8(..4) {
            0 => broker.lose_answer(BrokerCall::Publish, fastrand::usize(1..4)),
            1 => broker.fail_after(BrokerCall::Publish, fastrand::usize(1..4)),
            _ => {}
        }
        let some = fastrand::usize(1..8);
        let worked = || async { (broker.calls(BrokerCall::Publish) >= calls + some).then_some(()) };
        let idle = tokio::time::timeout(Duration::from_millis(200), eventually("", super::PATIENCE, worked));
        let _ = idle.await;
        for _ in 0..fastrand::usize(..50) {
            tokio::task::yield_now().await;
        }
        for relay in relays {
            relay.kill();
            killed += 1;
        }
    }
    killed
}

/// A worker that does nothing but acknowledge, as fast as it can, so that only the memory of the
/// broker knows what was there; answers what it has run.
async fn run(scene: Arc<Scene>, over: Arc<AtomicBool>) -> Vec<TaskId> {
    let request = FetchRequest::new(scene.queue.clone(), 1000, super::RARELY);
    let mut run = Vec::new();
    loop {
        let last = over.load(Ordering::Relaxed);
        let claimed = scene.broker.fetch(&request).await.expect("memory is always there");
        let done = |delivery: &Delivery| Settlement {
            receipt: delivery.receipt.clone(),
            disposition: Disposition::Acknowledge,
            progress: delivery.progress,
            state: State::Succeeded,
            reason: None,
            remember: delivery.content.as_ref().expect("it is a message").remember,
        };
        let settlements: Vec<Settlement> = claimed.iter().map(done).collect();
        scene.broker.settle(&settlements).await.expect("memory is always there");
        run.extend(claimed.into_iter().map(|delivery| delivery.receipt.id));
        if settlements.is_empty() {
            if last {
                return run;
            }
            scene.broker.ready(&scene.queue, Duration::from_millis(50)).await.expect("memory is always there");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_committed_half_runs() {
    let scene = Arc::new(Scene::with(&super::SERVER, config().poll(Duration::from_millis(200))).await);
    let broker = Arc::new(FaultyBroker::new(Arc::new(scene.broker.clone())));
    let [written, relayed] = [0, 1].map(|_| Arc::new(AtomicBool::new(false)));
    let killer = tokio::spawn(kill_relays(Arc::clone(&scene), Arc::clone(&broker), Arc::clone(&written)));
    let worker = tokio::spawn(run(Arc::clone(&scene), Arc::clone(&relayed)));
    let mut writers = JoinSet::new();
    for part in scene.messages(TRANSACTIONS).chunks(TRANSACTIONS / WRITERS) {
        writers.spawn(write(Arc::clone(&scene), part.to_vec()));
    }
    let committed: HashSet<TaskId> = writers.join_all().await.into_iter().flatten().collect();
    written.store(true, Ordering::Relaxed);
    let killed = killer.await.unwrap();
    assert!(killed >= 10, "{killed} relays were killed");

    let last = scene.relay();
    scene.emptied().await;
    let report = last.stop().await;
    relayed.store(true, Ordering::Relaxed);
    let run = worker.await.unwrap();
    let distinct: HashSet<TaskId> = run.iter().cloned().collect();
    assert_eq!(run.len() - distinct.len(), 0, "tasks that ran twice");
    assert!(distinct == committed, "{} of {} ran; {report}", distinct.len(), committed.len());
    assert_eq!(committed.len(), TRANSACTIONS / 2);
    let stats = scene.outbox.stats().await.unwrap();
    assert_eq!((stats.pending, stats.stuck), (0, 0));
}
