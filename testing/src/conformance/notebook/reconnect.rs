//! Connections that break.

use std::sync::Arc;

use windlass_core::{Backend, Expected, Heard, Result, WriteOutcome};

use super::scene::{Ear, Scene, at, put};
use crate::conformance::{Disturb, PATIENCE, eventually, millis, pass};
use crate::fixture;

/// What a call answers that is made until there is an answer.
fn answered<T>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(error.is_retryable(), "a lost connection passes: {error:?}");
            None
        }
    }
}

/// Every call works again after a break, and what was written before is there.
pub async fn notes_go_on_after_a_lost_connection(backend: Arc<dyn Backend>, disturb: Disturb) {
    let scene = Scene::new(backend);
    let (book, set) = (scene.book(), scene.key("set"));
    for round in 0..3 {
        let value = round.to_string();
        let changes = [put(&scene.key("a"), Expected::Anything, value.clone())];
        let places = [at(&set, round, value.clone())];
        // Calls that are on their way while the connection breaks; they may be applied without an answer.
        let write = eventually("writing works again", PATIENCE, || async { answered(book.write(&changes).await) });
        let fill = eventually("filling works again", PATIENCE, || async { answered(book.gather(&places).await) });
        let (written, sizes, ()) = tokio::join!(write, fill, async { disturb.now() });
        assert_eq!(sizes, [round + 1], "filling again changes nothing");
        disturb.now();
        let keys = [scene.key("a")];
        let read = eventually("reading works again", PATIENCE, || async { answered(book.read(&keys).await) }).await;
        let read = read[0].as_ref().expect("what was written is there");
        assert_eq!((&[WriteOutcome::Written(read.version)][..], &read.value[..]), (&written[..], value.as_bytes()));
        let gathered = || async { answered(book.gathered(&set, 0..round + 1).await) };
        assert!(eventually("reading works again", PATIENCE, gathered).await.iter().all(Option::is_some));
    }
}

/// Sends a signal until the store has taken it.
async fn signal_until_taken(scene: &Scene, topic: &str, text: &str) {
    let text = bytes::Bytes::copy_from_slice(text.as_bytes());
    let signal = || async { answered(scene.book().signal(topic, text.clone()).await) };
    eventually("signalling works again", PATIENCE, signal).await;
}

/// Hears this signal, or that something was missed; answers whether it was the signal.
async fn hears(ear: &mut Ear, text: &str) -> bool {
    loop {
        match ear.next().await.expect("an unreachable store is waited for") {
            Heard::Signal(heard) if heard == text => return true,
            Heard::Missed => return false,
            // One of before.
            Heard::Signal(_) => {}
        }
    }
}

/// Who listens while the connection breaks hears what is signalled then, or that something was missed, and
/// hears what comes later.
pub async fn a_listener_outlives_a_lost_connection(backend: Arc<dyn Backend>, disturb: Disturb) {
    let scene = Scene::new(backend);
    let topic = fixture::topic();
    let mut ear = scene.listen(&topic).await;
    for round in 0..3 {
        let meanwhile = format!("{round} meanwhile");
        let script = async {
            pass(millis(100)).await;
            disturb.now();
            signal_until_taken(&scene, &topic, &meanwhile).await;
        };
        tokio::join!(hears(&mut ear, &meanwhile), script);
        let mut heard = false;
        for later in 0..5 {
            let text = format!("{round} later {later}");
            signal_until_taken(&scene, &topic, &text).await;
            heard = heard || hears(&mut ear, &text).await;
        }
        assert!(heard, "after it was told of what it missed, it hears what comes later");
    }
}
