//! The end of a notebook, which is that of its backend.

use std::fmt::Debug;
use std::sync::Arc;

use windlass_core::{Backend, ErrorKind, Expected, Result};

use super::scene::{Scene, at, put};
use crate::conformance::{millis, pass};
use crate::fixture;

pub(super) fn is_closed<T: Debug>(operation: &str, answer: Result<T>) {
    match answer {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{operation}: {error}"),
        Ok(answer) => panic!("{operation} answered {answer:?} after close"),
    }
}

/// After `close` of the backend, every call of its notebook says that it is closed.
pub async fn after_close_the_notebook_is_closed(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    scene.put("a", "1").await;
    scene.backend.close().await;
    let (book, key) = (scene.book(), scene.key("a"));
    is_closed("read", book.read(std::slice::from_ref(&key)).await);
    is_closed("write", book.write(&[put(&key, Expected::Anything, "2")]).await);
    is_closed("list", book.list(scene.shelf, None, 10).await);
    is_closed("gather", book.gather(&[at(&key, 0, "1")]).await);
    is_closed("gathered", book.gathered(&key, 0..1).await);
    is_closed("signal", book.signal("topic", "1".into()).await);
    is_closed("listen", book.listen("topic").await);
}

/// `close` ends every listening, with an error that says so.
pub async fn closing_ends_the_listening(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let mut waits = scene.listen(&fixture::topic()).await;
    let mut comes_late = scene.listen(&fixture::topic()).await;
    let closing = async {
        pass(millis(100)).await;
        scene.backend.close().await;
    };
    let (ended, ()) = tokio::join!(waits.end(), closing);
    is_closed("next", ended);
    is_closed("next", comes_late.end().await);
    is_closed("next", comes_late.end().await);
}
