//! A word to everyone who listens.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use windlass_core::Backend;
use windlass_core::notebook::SIGNAL_BYTES;

use super::scene::Scene;
use crate::conformance::{millis, pass};
use crate::fixture;

/// After a signal, who listens hears it, or that something may have been missed.
pub async fn who_listens_is_told_to_look(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut ears = [scene.listen(&topic).await, scene.listen(&topic).await];
    for text in ["1", "2"] {
        scene.signal(&topic, text).await;
        for ear in &mut ears {
            scene.is_told(ear, text).await;
        }
    }
}

/// Everyone who listens hears a signal.
pub async fn every_listener_hears_a_signal(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut ears = [scene.listen(&topic).await, scene.listen(&topic).await, scene.listen(&topic).await];
    scene.signal(&topic, "1").await;
    for ear in &mut ears {
        assert_eq!(ear.signal().await, "1");
    }
}

/// A signal is bytes, of any length up to the limit.
pub async fn a_signal_is_heard_bit_by_bit(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut ear = scene.listen(&topic).await;
    let long: Bytes = fixture::binary().iter().copied().cycle().take(SIGNAL_BYTES).collect();
    for text in [fixture::binary(), Bytes::new(), long] {
        scene.signal(&topic, text.clone()).await;
        assert_eq!(ear.signal().await, text);
    }
}

/// Signals are heard in the order of sending, also by who listens without asking for a while.
pub async fn signals_are_heard_in_their_order(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut ear = scene.listen(&topic).await;
    for number in 0..100 {
        scene.signal(&topic, number.to_string()).await;
    }
    for number in 0..100 {
        assert_eq!(ear.signal().await, number.to_string());
    }
}

/// Only signals of its own topic are heard by a listener.
pub async fn topics_are_apart(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let others = [format!("{topic}x"), format!("{topic}:x"), topic.to_uppercase(), fixture::topic()];
    let mut ear = scene.listen(&topic).await;
    for other in &others {
        scene.signal(other, "of another topic").await;
    }
    scene.signal(&topic, "1").await;
    assert_eq!(ear.signal().await, "1");
}

/// What was signalled before is not heard, and is no error where nobody listens.
pub async fn only_later_signals_are_heard(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    scene.signal(&topic, "nobody listens").await;
    let mut first = scene.listen(&topic).await;
    scene.signal(&topic, "before").await;
    assert_eq!(first.signal().await, "before");
    let mut second = scene.listen(&topic).await;
    scene.signal(&topic, "after").await;
    assert_eq!(second.signal().await, "after");
}

/// A future of `next` can be dropped at any time, and no signal is lost by that.
pub async fn a_dropped_next_loses_no_signal(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut ear = scene.listen(&topic).await;
    let signals = async {
        for number in 0..50 {
            scene.signal(&topic, number.to_string()).await;
            pass(millis(fastrand::u64(0..4))).await;
        }
    };
    let listening = async {
        let mut heard = Vec::new();
        while heard.len() < 50 {
            // Most of these are dropped while they wait.
            heard.extend(ear.signal_within(millis(fastrand::u64(0..3))).await);
        }
        heard
    };
    let (heard, ()) = tokio::join!(tokio::time::timeout(crate::conformance::PATIENCE, listening), signals);
    let heard = heard.expect("all of them are heard");
    assert!(heard.iter().eq((0..50).map(|number| number.to_string()).collect::<Vec<_>>().iter()), "{heard:?}");
}

/// A listener that is dropped disturbs nobody who listens to the same topic, then or later.
pub async fn a_dropped_listener_disturbs_nobody(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut stays = scene.listen(&topic).await;
    for number in 0..5 {
        drop(scene.listen(&topic).await);
        scene.signal(&topic, number.to_string()).await;
        assert_eq!(stays.signal().await, number.to_string());
    }
    drop(stays);
    let mut new = scene.listen(&topic).await;
    scene.signal(&topic, "new").await;
    assert_eq!(new.signal().await, "new");
}

/// A hundred can listen to a topic each at the same time, and each hears its own.
pub async fn many_can_listen_at_once(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let mut listeners = JoinSet::new();
    for _ in 0..100 {
        let scene = scene.clone();
        listeners.spawn(async move {
            let topic = fixture::topic();
            let mut ear = scene.listen(&topic).await;
            scene.signal(&topic, topic.clone()).await;
            ear.signal().await == topic
        });
    }
    assert_eq!(listeners.join_all().await, [true; 100]);
}
