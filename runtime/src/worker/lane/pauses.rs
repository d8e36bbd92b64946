//! Pauses and resumes the lanes of a worker, as the queues that they serve are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use windlass_core::{Error, Listener, Notebook, QueueName, Result};

use super::Lane;
use crate::pause::{Pause, in_time};
use crate::queues::paused;
use crate::worker::engine::Engine;

/// How often the notes are looked at where no signal came.
const LOOK: Duration = Duration::from_secs(10);

/// Looks until the worker stops: one read for all queues. A worker whose queues nobody can pause,
/// because there is no notebook, does not look.
pub(in crate::worker) async fn watch_pauses(engine: Arc<Engine>, lanes: Vec<Arc<Lane>>) {
    let Some(notebook) = engine.backend.as_ref().and_then(|backend| backend.notebook()) else { return };
    tokio::select! {
        () = engine.stop.cancelled() => {}
        () = look_on(notebook, &lanes) => {}
    }
}

async fn look_on(notebook: &dyn Notebook, lanes: &[Arc<Lane>]) {
    let queues: Vec<QueueName> = lanes.iter().map(|lane| lane.queue().clone()).collect();
    let mut listener: Option<Box<dyn Listener>> = None;
    let mut failures = Pause::default();
    loop {
        match in_time("look for pauses", paused::are(notebook, &queues)).await {
            Ok(paused) => {
                failures.reset();
                apply(lanes, &paused);
            }
            Err(error) => {
                report(&failures, &error);
                if !error.is_retryable() {
                    // A store that will never answer must not hold up the tasks.
                    apply(lanes, &vec![false; lanes.len()]);
                }
                sleep(failures.next()).await;
                continue;
            }
        }
        if listener.is_none()
            && let Ok(new) = in_time("listen", notebook.listen(paused::TOPIC)).await
        {
            listener = Some(new);
            // What was signalled before it listened is seen now.
            continue;
        }
        if wait(&mut listener).await.is_err() {
            listener = None;
            sleep(LOOK).await;
        }
    }
}

/// Waits for a signal, or until it is time to look anyway.
async fn wait(listener: &mut Option<Box<dyn Listener>>) -> Result<()> {
    let Some(listener) = listener else {
        sleep(LOOK).await;
        return Ok(());
    };
    tokio::select! {
        heard = listener.next() => heard.map(drop),
        () = sleep(LOOK) => Ok(()),
    }
}

fn apply(lanes: &[Arc<Lane>], paused: &[bool]) {
    for (lane, paused) in lanes.iter().zip(paused) {
        lane.pause_or_resume(*paused);
    }
}

fn report(failures: &Pause, error: &Error) {
    if failures.is_news() {
        tracing::warn!(target: "windlass::worker", %error, "cannot look whether queues are paused; trying again");
    }
}
