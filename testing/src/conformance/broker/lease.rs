//! Leases: what a lost worker held comes back.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use windlass_core::{Broker, Disposition, LeaseStatus, Progress, Receipt, Settlement, Token};

use super::scene::{LONG, SHORT, Scene, ids, message_of, settlement};
use crate::conformance::{millis, pass};
use crate::fixture;

/// A claim whose lease runs out is delivered again, at the head, with one more loss.
pub async fn a_lease_that_ran_out_redelivers_at_the_head(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let published = scene.publish_each(["1", "2", "3"]).await;
    let lost = scene.take_one(SHORT).await;
    assert_eq!(lost.receipt.id, published[0]);
    pass(SHORT * 2).await;
    let again = scene.take(3, LONG).await;
    assert_eq!(ids(&again), published);
    assert_eq!(again[0].progress, Progress { losses: 1, ..Progress::default() }, "a loss, and nothing else");
    assert_eq!(again[1].progress, Progress::default());
    assert_eq!(message_of(&again[0]), message_of(&lost), "the same message");
}

/// Every further loss is counted, and what it has been through stays.
pub async fn losses_add_up(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let first = scene.take_one(LONG).await;
    let progress = Progress { failures: 2, losses: 0, snoozes: 3, parks: 4, max_retries: None };
    scene.settle_one(Settlement { progress, ..settlement(&first, Disposition::Release) }).await;
    for losses in 0..3 {
        let delivery = scene.take_one(millis(100)).await;
        assert_eq!(delivery.progress, Progress { losses, ..progress });
    }
}

/// A whole batch whose lease runs out comes back in its order.
pub async fn a_lost_batch_comes_back_in_its_order(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let messages = fixture::messages(&scene.queue, 100);
    scene.publish(&messages).await;
    let lost = scene.take(100, Duration::from_secs(1)).await;
    let again = scene.take(100, LONG).await;
    assert_eq!(ids(&again), ids(&lost));
    assert!(again.iter().all(|delivery| delivery.progress.losses == 1));
}

/// While a claim lasts, nobody else gets the message.
pub async fn a_claim_is_exclusive(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let delivery = scene.take_one(LONG).await;
    scene.nothing_for(SHORT * 2).await;
    scene.acknowledge(&delivery).await;
}

/// A claim that is extended outlives its first lease.
pub async fn an_extended_claim_is_kept(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let lease = Duration::from_secs(1);
    let delivery = scene.take_one(lease).await;
    assert_eq!(scene.extend(&delivery.receipt, LONG).await, LeaseStatus::Held);
    scene.nothing_for(lease + SHORT).await;
    scene.acknowledge(&delivery).await;
}

/// An extension counts from now: a shorter one ends the claim sooner.
pub async fn an_extension_counts_from_now(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [id] = scene.publish_each(["1"]).await;
    let delivery = scene.take_one(LONG).await;
    assert_eq!(scene.extend(&delivery.receipt, SHORT).await, LeaseStatus::Held);
    let again = scene.take_one(LONG).await;
    assert_eq!((again.receipt.id, again.progress.losses), (id, 1));
}

/// Without a lease, a claim is held until it is settled, and `extend` says so.
pub async fn a_claim_without_a_lease_is_held_until_it_is_settled(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1", "2"]).await;
    let [one, two] = [scene.take_one(millis(100)).await, scene.take_one(millis(100)).await];
    pass(millis(300)).await;
    assert_eq!(scene.extend(&one.receipt, millis(100)).await, LeaseStatus::Held);
    scene.acknowledge(&one).await;
    assert_eq!(scene.extend(&one.receipt, millis(100)).await, LeaseStatus::Lost);
    assert_eq!(scene.extend(&two.receipt, millis(100)).await, LeaseStatus::Held);
    scene.acknowledge(&two).await;
}

/// One call extends many claims and answers in their order.
pub async fn many_claims_are_extended_in_one_call(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish(&fixture::messages(&scene.queue, 50)).await;
    let deliveries = scene.take(50, Duration::from_millis(1_500)).await;
    let mut receipts: Vec<Receipt> = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
    for index in [7, 20, 49] {
        receipts[index] = Receipt { id: fixture::task_id(), ..receipts[index].clone() };
    }
    receipts[30].token = Token(0);
    let statuses = scene.broker.extend(&receipts, LONG).await.expect("extend answers");
    let lost = |index| [7, 20, 30, 49].contains(&index);
    let expected: Vec<LeaseStatus> =
        (0..50).map(|index| if lost(index) { LeaseStatus::Lost } else { LeaseStatus::Held }).collect();
    assert_eq!(statuses, expected);
    // The four that were not extended come back, and only they.
    assert_eq!(scene.take(4, LONG).await.len(), 4);
    scene.nothing().await;
}

/// `extend` makes progress while the caller's runtime is blocked, if it is polled from another one.
///
/// A task that blocks must not cost its worker the leases of all the others.
pub async fn extending_works_while_the_runtime_is_blocked(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.publish_each(["1"]).await;
    let receipt = scene.take_one(LONG).await.receipt;
    // The thread that is here is blocked by `extend_elsewhere`.
    let threads = match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => 0,
        _ => Handle::current().metrics().num_workers(),
    };
    let (blocked, is_blocked) = mpsc::channel();
    let mut releases = Vec::new();
    for _ in 0..threads {
        let (release, released) = mpsc::channel::<()>();
        let blocked = blocked.clone();
        releases.push(release);
        tokio::spawn(async move {
            let _ = blocked.send(());
            // It ends with an error when the sender is dropped.
            let _ = released.recv();
        });
    }
    for _ in 0..threads {
        is_blocked.recv().expect("the tasks run until they are released");
    }
    let extended = extend_elsewhere(&scene, receipt);
    drop(releases);
    assert_eq!(extended.expect("extend answers although the runtime is blocked"), LeaseStatus::Held);
}

/// Blocks the calling thread until another runtime has extended the claim.
fn extend_elsewhere(scene: &Scene, receipt: Receipt) -> Result<LeaseStatus, mpsc::RecvTimeoutError> {
    let (sender, receiver) = mpsc::channel();
    let scene = scene.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a second runtime");
        let _ = sender.send(runtime.block_on(scene.extend(&receipt, LONG)));
    });
    receiver.recv_timeout(Duration::from_secs(4))
}
