//! The end of a backend.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use windlass_core::{Backend, ErrorKind, Result, State};

use super::save;
use crate::conformance::{millis, pass};
use crate::fixture;

fn is_closed<T: Debug>(operation: &str, answer: Result<T>) {
    match answer {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{operation}: {error}"),
        Ok(answer) => panic!("{operation} answered {answer:?} after close"),
    }
}

/// After `close`, every operation says that the backend is closed.
pub async fn after_close_every_call_is_refused(backend: Arc<dyn Backend>) {
    let record = fixture::record(State::Succeeded);
    save(&backend, std::slice::from_ref(&record)).await;
    backend.close().await;
    backend.close().await;
    let ids = [record.id.clone()];
    is_closed("save", backend.save(&[record]).await);
    is_closed("load", backend.load(&ids).await);
    is_closed("wait", backend.wait(&ids[0], millis(10)).await);
    is_closed("forget", backend.forget(&ids).await);
}

/// `close` ends a wait that is going on, with an error.
pub async fn closing_ends_the_wait_for_a_task(backend: Arc<dyn Backend>) {
    let id = fixture::task_id();
    let waiting = timeout(Duration::from_secs(10), backend.wait(&id, Duration::from_secs(60)));
    let closing = async {
        pass(millis(100)).await;
        backend.close().await;
    };
    let (ended, ()) = tokio::join!(waiting, closing);
    is_closed("wait", ended.expect("the wait ends within 10 s after close"));
}
