//! Ends running tasks that somebody wants cancelled.
//!
//! A request is a note; a signal says that there is one. A worker listens only while tasks of its own run
//! for longer than a moment, and looks at the notes of those now and then, because signals can be missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windlass_core::{Heard, Listener, Notebook, Result, TaskId};

use super::engine::{Claimed, Engine};
use super::signal::{Kill, TaskSignal};
use crate::cancel::{Request, requests, withdraw};
use crate::notes::CANCEL;
use crate::pause::{Pause, in_time};

/// Tasks that have ended before this are not worth listening for.
const LONG: Duration = Duration::from_millis(100);
/// How often the notes of running tasks are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The listening ends when no task has run for long for this long.
const QUIET: Duration = Duration::from_secs(60);
/// Most notes in one look.
const NOTES: usize = 1000;

impl Engine {
    pub(super) fn notebook(&self) -> Option<&dyn Notebook> {
        self.backend.as_ref()?.notebook()
    }

    /// Whether somebody wants this task cancelled that has been through something before: the request may
    /// be older than this claim. Looking costs a call, which a task that runs for the first time is spared.
    pub(super) async fn asked_to_end(&self, claimed: &Claimed<'_>, signal: &TaskSignal) {
        let Some(notebook) = self.notebook() else { return };
        let id = &claimed.message.id;
        match requests(notebook, std::slice::from_ref(id)).await {
            Ok(mut found) => {
                let request = found.pop().flatten().filter(|request| request.is_about(claimed.message.enqueued_at));
                if let Some(request) = request {
                    signal.cancel(request.reason);
                }
            }
            // If it runs for long, it is looked at again.
            Err(error) => {
                tracing::debug!(target: "windlass::worker", task_id = %id, %error, "cannot look for requests")
            }
        }
    }

    /// Forgets requests that are followed.
    pub(super) async fn followed(&self, ids: &[TaskId]) {
        if let (Some(notebook), [_, ..]) = (self.notebook(), ids) {
            withdraw(notebook, ids).await;
        }
    }

    fn follow_request(self: &Arc<Self>, request: &Request) {
        for signal in self.leases.signals(&request.id, |enqueued| request.is_about(enqueued)) {
            if !signal.cancel(request.reason.clone()) {
                continue;
            }
            tracing::info!(target: "windlass::worker", task_id = %request.id, "asked to end: it is cancelled");
            let grace = self.cancel_grace;
            tokio::spawn(async move {
                sleep(grace).await;
                signal.kill(Kill::Cancelled);
            });
        }
    }

    /// Looks at the notes of everything that has run for long.
    async fn look_for_requests(self: &Arc<Self>, notebook: &dyn Notebook) -> Result<()> {
        for ids in self.leases.older_than(LONG).chunks(NOTES) {
            for request in requests(notebook, ids).await?.into_iter().flatten() {
                self.follow_request(&request);
            }
        }
        Ok(())
    }
}

/// Follows requests as long as the worker lives.
pub(super) async fn follow(engine: Arc<Engine>, done: CancellationToken) {
    let Some(notebook) = engine.notebook() else { return };
    let mut pause = Pause::default();
    let attending = async {
        loop {
            engine.leases.some().await;
            sleep(LONG).await;
            if engine.leases.older_than(LONG).is_empty() {
                continue;
            }
            match attend(&engine, notebook).await {
                Ok(()) => pause.reset(),
                Err(error) => {
                    if pause.is_news() {
                        tracing::warn!(target: "windlass::worker", %error, "cannot listen for requests to cancel; trying again");
                    }
                    sleep(pause.next()).await;
                }
            }
        }
    };
    tokio::select! {
        () = done.cancelled() => {}
        () = attending => {}
    }
}

/// Listens until no task has run for long for a while.
async fn attend(engine: &Arc<Engine>, notebook: &dyn Notebook) -> Result<()> {
    let mut listener: Box<dyn Listener> = in_time("listen", notebook.listen(CANCEL)).await?;
    engine.look_for_requests(notebook).await?;
    let (mut looked, mut busy) = (Instant::now(), Instant::now());
    while busy.elapsed() < QUIET {
        let heard = tokio::select! {
            heard = listener.next() => heard?,
            () = tokio::time::sleep_until(looked + LOOK) => Heard::Missed,
        };
        match heard {
            Heard::Signal(text) => {
                if let Ok(request) = Request::read(&text) {
                    engine.follow_request(&request);
                }
            }
            Heard::Missed => {
                looked = Instant::now();
                if !engine.leases.older_than(LONG).is_empty() {
                    busy = looked;
                }
                engine.look_for_requests(notebook).await?;
            }
        }
    }
    Ok(())
}
