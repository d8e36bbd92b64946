//! What an adapter says that it cannot do.

use std::fmt::Debug;
use std::sync::Arc;

use windlass_core::{Broker, ErrorKind, Message, PublishOutcome, Result, Schedule};

use super::scene::{LONG, Scene};
use crate::conformance::millis;
use crate::fixture;

fn refuses<T: Debug>(answer: Result<T>) {
    let error = answer.expect_err("the capabilities say that this is not supported");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

/// What the capabilities do not offer is refused as `Unsupported`, and no delay is cut short.
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
        refuses(broker.replay(queue, &[fixture::task_id()]).await);
    }
    if !capabilities.delay {
        let message = Message { schedule: Schedule::After(millis(300)), ..scene.message("2") };
        let outcomes = broker.publish(&[message]).await;
        let refused = outcomes.map_or(true, |outcomes| matches!(outcomes[..], [PublishOutcome::Rejected(_)]));
        assert!(refused, "a broker that cannot delay must not accept a delayed message");
    }
    assert_eq!(scene.take_one(LONG).await.receipt.id, id);
    scene.nothing().await;
}
