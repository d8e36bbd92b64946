//! What no store is asked for, because it is wrong.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use windlass_core::notebook::{PLACES, SIGNAL_BYTES, VALUE_BYTES};
use windlass_core::{Backend, ErrorKind, Expected, Result};

use super::scene::{Scene, at, put};
use crate::fixture;

/// The call was refused, with the limit in the text.
fn is_invalid<T: Debug>(answer: Result<T>, limit: impl ToString) {
    let error = answer.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(&limit.to_string()), "{error} does not name {}", limit.to_string());
}

/// A call with a value above the limit is refused as a whole, with the limit in the text.
pub async fn a_value_above_the_limit_is_refused(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let large = Bytes::from(vec![7; VALUE_BYTES + 1]);
    let [small, key] = ["small", "large"].map(|name| scene.key(name));
    let anything = Expected::Anything;
    let written = scene.book().write(&[put(&small, anything, "1"), put(&key, anything, large.clone())]).await;
    is_invalid(written, VALUE_BYTES);
    assert_eq!(scene.read_all(&[small.clone(), key.clone()]).await, [None, None]);
    is_invalid(scene.book().gather(&[at(&small, 0, "1"), at(&key, 0, large)]).await, VALUE_BYTES);
    assert_eq!(scene.gathered(&small, 0..1).await, [None]);
}

/// A place that no set has is refused, with the number of places in the text.
pub async fn a_place_beyond_the_last_is_refused(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let set = scene.key("set");
    is_invalid(scene.book().gather(&[at(&set, 0, "1"), at(&set, PLACES, "1")]).await, PLACES);
    is_invalid(scene.book().gathered(&set, PLACES..PLACES + 1).await, PLACES);
    is_invalid(scene.book().gathered(&set, 0..u32::MAX).await, PLACES);
    assert_eq!(scene.gathered(&set, 0..1).await, [None], "nothing was filled");
}

/// A signal above the limit is refused, with the limit in the text, and nobody hears it.
pub async fn a_signal_above_the_limit_is_refused(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut ear = scene.listen(&topic).await;
    is_invalid(scene.book().signal(&topic, vec![b'x'; SIGNAL_BYTES + 1].into()).await, SIGNAL_BYTES);
    scene.signal(&topic, "1").await;
    scene.is_told(&mut ear, "1").await;
}

/// A topic that is no name is refused, by who signals and by who listens.
pub async fn a_topic_that_is_no_name_is_refused(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    for topic in ["", "two words", "a*", "a\n", "Gödel", &"x".repeat(256)] {
        is_invalid(scene.book().signal(topic, "1".into()).await, 255);
        is_invalid(scene.book().listen(topic).await, 255);
    }
}
