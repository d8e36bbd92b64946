//! The end of a broker.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use windlass_core::{Broker, Disposition, ErrorKind, FetchRequest, Result};

use super::scene::{LONG, Scene, settlement};
use crate::conformance::{millis, pass};

fn is_closed<T: Debug>(operation: &str, answer: Result<T>) {
    match answer {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{operation}: {error}"),
        Ok(answer) => panic!("{operation} answered {answer:?} after close"),
    }
}

/// After `close`, every operation says that the broker is closed.
pub async fn after_close_everything_is_closed(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let [id, _] = scene.publish_each(["1", "2"]).await;
    let delivery = scene.take_one(LONG).await;
    let capabilities = scene.broker.capabilities();
    let (broker, queue) = (&scene.broker, &scene.queue);
    broker.close().await;
    broker.close().await;
    let done = settlement(&delivery, Disposition::Acknowledge);
    let request = FetchRequest::new(queue.clone(), 1, LONG);
    is_closed("publish", broker.publish(&[scene.message("1")]).await);
    is_closed("ready", broker.ready(queue, millis(10)).await);
    is_closed("fetch", broker.fetch(&request).await);
    is_closed("settle", broker.settle(&[done]).await);
    if capabilities.lease {
        is_closed("extend", broker.extend(&[delivery.receipt], LONG).await);
    }
    if capabilities.cancel {
        is_closed("cancel", broker.cancel(queue, &id).await);
    }
    if capabilities.locate {
        is_closed("locate", broker.locate(queue, &id).await);
    }
    if capabilities.dead_letters {
        is_closed("dead_letters", broker.dead_letters(queue, None, 10).await);
        is_closed("replay", broker.replay(queue, &[id.clone().into()]).await);
        is_closed("discard", broker.discard(queue, &[id]).await);
    }
}

/// `close` ends a wait that is going on.
pub async fn closing_ends_a_wait(broker: Arc<dyn Broker>) {
    let scene = Scene::new(broker);
    let waiting = timeout(Duration::from_secs(10), scene.broker.ready(&scene.queue, Duration::from_secs(60)));
    let closing = async {
        pass(millis(100)).await;
        scene.broker.close().await;
    };
    // It may end with an error or without one; it must end.
    let (ended, ()) = tokio::join!(waiting, closing);
    assert!(ended.is_ok(), "the wait went on for 10 s after close");
}
