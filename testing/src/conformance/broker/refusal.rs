//! What an adapter says that it cannot do.

use std::fmt::Debug;
use std::sync::Arc;

use windlass_core::broker::Overflow;
use windlass_core::{Broker, ErrorKind, Message, PublishOutcome, QueueLimit, Result, Schedule, TaskId};

use super::scene::{LONG, Scene, ids};
use crate::conformance::millis;
use crate::fixture;

fn refuses<T: Debug>(answer: Result<T>) {
    let error = answer.expect_err("the capabilities say that this is not supported");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

/// What the capabilities do not offer is refused as `Unsupported`, no delay is cut short, and nothing is
/// dropped for a limit.
pub async fn what_is_not_offered_is_refused(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let (broker, queue) = (&scene.broker, &scene.queue);
    let capabilities = broker.capabilities();
    let [id] = scene.publish_each(["1"]).await;
    if !capabilities.cancel {
        refuses(broker.cancel(queue, &id).await);
    }
    if !capabilities.locate {
        refuses(broker.locate(queue, &id).await);
    }
    if !capabilities.dead_letters {
        refuses(broker.dead_letters(queue, None, 10).await);
        refuses(broker.replay(queue, &[fixture::task_id().into()]).await);
        refuses(broker.discard(queue, &[fixture::task_id()]).await);
    }
    if !capabilities.delay {
        let message = Message { schedule: Schedule::After(millis(300)), ..scene.message("2") };
        let outcomes = broker.publish(&[message]).await;
        let refused = outcomes.map_or(true, |outcomes| matches!(outcomes[..], [PublishOutcome::Rejected(_)]));
        assert!(refused, "a broker that cannot delay must not accept a delayed message");
    }
    assert_eq!(scene.take_one(LONG).await.receipt.id, id);
    if !capabilities.drop_oldest {
        drops_nothing(&scene, capabilities.limit).await;
    }
    scene.nothing().await;
}

/// A broker that cannot drop keeps what it takes; without limits, it takes everything.
async fn drops_nothing(scene: &Scene, limits: bool) {
    let limit = Some(QueueLimit { max: 1, overflow: Overflow::DropOldest });
    let messages = ["1", "2", "3"].map(|payload| Message { limit, ..scene.message(payload) });
    let outcomes = scene.outcomes(&messages).await;
    let taken = messages.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_accepted());
    let taken: Vec<TaskId> = taken.map(|(message, _)| message.id.clone()).collect();
    assert!(limits || taken.len() == 3, "a limit that is not offered is not looked at: {outcomes:?}");
    assert_eq!(ids(&scene.take(taken.len(), LONG).await), taken);
}
