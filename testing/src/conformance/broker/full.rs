//! Queues with a limit of their length.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use windlass_core::Priority::{High, Low, Normal};
use windlass_core::broker::Overflow::{self, DropOldest, Reject};
use windlass_core::{Broker, Disposition, Message, Progress, PublishOutcome, QueueLimit, Schedule, TaskId};

use super::scene::{LONG, Scene, dead, ids, message_of, retry, settlement};

/// The message, for a queue of at most `max`.
fn limited(message: Message, max: u64, overflow: Overflow) -> Message {
    Message { limit: Some(QueueLimit { max, overflow }), ..message }
}

impl Scene {
    /// A message for a queue of at most `max`, which refuses what is more.
    fn refusable(&self, max: u64) -> Message {
        limited(self.message("1"), max, Reject)
    }

    /// Publishes and answers the ids, in the order of the messages.
    async fn publish_all(&self, messages: &[Message]) -> Vec<TaskId> {
        self.publish(messages).await;
        messages.iter().map(|message| message.id.clone()).collect()
    }

    /// The queue is full: a further message is refused, and the answer says how many wait.
    pub(super) async fn is_full(&self, max: u64) {
        let outcomes = self.outcomes(&[self.refusable(max)]).await;
        assert!(matches!(outcomes[..], [PublishOutcome::Full { waiting }] if waiting == max), "{max}: {outcomes:?}");
    }

    /// Fills the queue to its limit.
    pub(super) async fn fill_up(&self, max: u64) -> Vec<TaskId> {
        let messages: Vec<Message> = (0..max).map(|_| self.refusable(max)).collect();
        self.publish_all(&messages).await
    }
}

/// A queue takes as many messages as its limit says, answers each further one with how many wait, and never
/// delivers it.
pub async fn a_full_queue_refuses_what_is_more(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let batch: Vec<Message> = (0..5).map(|_| scene.refusable(3)).collect();
    let outcomes = scene.outcomes(&batch).await;
    let as_said = |outcome: &PublishOutcome| match outcome {
        PublishOutcome::Accepted => Some(0),
        PublishOutcome::Full { waiting } => Some(*waiting),
        _ => None,
    };
    assert_eq!(outcomes.iter().filter_map(as_said).collect::<Vec<_>>(), [0, 0, 0, 3, 3], "{outcomes:?}");
    scene.is_full(3).await;
    let expected: Vec<TaskId> = batch[..3].iter().map(|message| message.id.clone()).collect();
    assert_eq!(ids(&scene.take(3, LONG).await), expected);
    scene.nothing().await;
}

/// What waits for its time counts for the limit.
pub async fn delayed_messages_count_for_the_limit(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let schedule = Schedule::After(Duration::from_secs(3_600));
    scene.publish(&[Message { schedule, ..scene.refusable(2) }, scene.refusable(2)]).await;
    scene.is_full(2).await;
    let refused = scene.outcomes(&[Message { schedule, ..scene.refusable(2) }]).await;
    assert!(matches!(refused[..], [PublishOutcome::Full { waiting: 2 }]), "a delayed one, too: {refused:?}");
}

/// What a worker has makes room, and so does what has become a dead letter.
pub async fn a_claimed_message_makes_room(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.fill_up(3).await;
    scene.is_full(3).await;
    let taken = scene.take(3, LONG).await;
    scene.fill_up(3).await;
    scene.is_full(3).await;
    scene.settle(&[settlement(&taken[0], Disposition::Acknowledge), dead(&taken[1], "reason")]).await;
    scene.is_full(3).await;
}

/// What comes back to a full queue is taken: what is released, retried or replayed, and what has no limit.
pub async fn what_comes_back_finds_room(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    scene.fill_up(3).await;
    let taken = scene.take(3, LONG).await;
    let mut expected = scene.fill_up(3).await;
    let dead_letters = scene.broker.capabilities().dead_letters;
    let third = if dead_letters { dead(&taken[2], "reason") } else { settlement(&taken[2], Disposition::Release) };
    let settlements = [settlement(&taken[0], Disposition::Release), retry(&taken[1], Duration::ZERO), third];
    scene.settle(&settlements).await;
    if dead_letters {
        let replayed = scene.broker.replay(&scene.queue, &[taken[2].receipt.id.clone().into()]).await;
        assert_eq!(replayed.expect("replay answers"), 1);
    }
    expected.extend(scene.publish_each(["without a limit"]).await);
    expected.extend(ids(&taken));
    let mut came = ids(&scene.take(7, LONG).await);
    came.sort();
    expected.sort();
    assert_eq!(came, expected);
}

/// An id that is taken is a duplicate, also where the queue is full.
pub async fn a_duplicate_is_one_in_a_full_queue(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let message = scene.refusable(2);
    scene.publish(&[message.clone(), scene.refusable(2)]).await;
    let again = Message { payload: "changed".into(), ..message };
    let outcomes = scene.outcomes(&[again, scene.refusable(2)]).await;
    assert!(matches!(outcomes[..], [PublishOutcome::Duplicate, PublishOutcome::Full { waiting: 2 }]), "{outcomes:?}");
}

/// Of many that publish at once, as many as the limit says are taken at least; what is taken comes, and what
/// is refused never does.
pub async fn many_publishers_fill_a_queue(broker: Arc<dyn Broker>) {
    const LIMIT: u64 = 40;
    let scene = Scene::new(broker);
    let mut publishers = JoinSet::new();
    for _ in 0..8 {
        let scene = scene.clone();
        publishers.spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..5 {
                let messages = [scene.refusable(LIMIT), scene.refusable(LIMIT)];
                let outcomes = scene.outcomes(&messages).await;
                let of_it = messages.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_accepted());
                taken.extend(of_it.map(|(message, _)| message.id.clone()));
            }
            taken
        });
    }
    let mut taken = publishers.join_all().await.concat();
    assert!(taken.len() >= LIMIT as usize, "only {} of {LIMIT} were taken", taken.len());
    let mut came = ids(&scene.take(taken.len(), LONG).await);
    taken.sort();
    came.sort();
    assert_eq!(came, taken);
    scene.nothing().await;
}

/// A full queue can take what comes and drop its oldest instead.
pub async fn a_full_queue_drops_its_oldest(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let batch: Vec<Message> = (0..6).map(|_| limited(scene.message("1"), 3, DropOldest)).collect();
    let mut published = Vec::new();
    for part in [&batch[..2], &batch[2..5], &batch[5..]] {
        published.extend(scene.publish_all(part).await);
    }
    assert_eq!(ids(&scene.take(3, LONG).await), published[3..]);
    scene.nothing().await;
}

/// What a full queue has dropped is a dead letter whose reason says so; it can be replayed.
pub async fn what_is_dropped_is_a_dead_letter(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let batch: Vec<Message> = (0..3).map(|_| limited(scene.message("payload"), 1, DropOldest)).collect();
    scene.publish(&batch).await;
    let letters = scene.dead_letters(10).await;
    let dropped: Vec<&TaskId> = letters.iter().map(|letter| &letter.id).collect();
    assert_eq!(dropped, [&batch[0].id, &batch[1].id]);
    for letter in &letters {
        assert!(letter.reason.contains("full"), "the reason is {:?}", letter.reason);
        assert_eq!(letter.progress, Progress::default());
        assert_eq!(letter.content.as_ref().expect("the message can be read").payload, "payload");
    }
    let replayed = scene.broker.replay(&scene.queue, &[batch[0].id.clone().into()]).await;
    assert_eq!(replayed.expect("replay answers"), 1);
    assert_eq!(ids(&scene.take(2, LONG).await), [batch[2].id.clone(), batch[0].id.clone()]);
}

/// A full queue drops the oldest of the least urgent, which can be the one that comes.
pub async fn the_least_urgent_is_dropped_first(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let coming = [Low, High, Normal, Low, Normal, High, Low, Normal];
    let batch = coming.map(|priority| limited(scene.urgent(priority), 3, DropOldest));
    for message in &batch {
        scene.publish(std::slice::from_ref(message)).await;
    }
    scene.arrived().await;
    let taken = scene.take(3, LONG).await;
    let left: Vec<_> = taken.iter().map(|delivery| message_of(delivery).priority()).collect();
    assert_eq!(left, [High, High, Normal]);
    assert_eq!(ids(&taken), [&batch[1], &batch[5], &batch[7]].map(|message| message.id.clone()));
    scene.nothing().await;
}
