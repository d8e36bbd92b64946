//! The end of a worker, as a protocol.
//!
//! 1. Stop fetching. What was fetched and has not begun is given back.
//! 2. Let what runs finish, for the grace.
//! 3. Signal the rest ([`Interrupt::Shutdown`]), and wait two seconds more.
//! 4. End the rest and give it back, at the head of its queue, without counting an attempt.
//!
//! A second request goes to step 4 at once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use windlass_core::Interrupt;

use super::engine::Engine;
use super::signal::Kill;
use super::stats::Report;

/// Between the signal to a task and its end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// For telling the stores what is left.
const SETTLE: Duration = Duration::from_secs(5);

/// A running worker.
///
/// Dropping it stops the fetching; what runs goes on as long as the tokio runtime lives. To wait for
/// it, use [`Worker::shutdown`] or [`Worker::run`].
pub struct Worker {
    engine: Arc<Engine>,
    settling: Option<JoinHandle<()>>,
    grace: Duration,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(engine: Arc<Engine>, settling: JoinHandle<()>, grace: Duration) -> Self {
        Self { engine, settling: Some(settling), grace }
    }

    /// What the worker has done by now.
    pub fn report(&self) -> Report {
        self.engine.stats.report(0)
    }

    /// Runs until SIGINT or SIGTERM (Ctrl-C elsewhere), then shuts down; a second signal shortens it.
    ///
    /// # Errors
    /// `Internal` if signals cannot be listened to.
    pub async fn run(self) -> windlass_core::Result<Report> {
        let mut signals = Signals::listen()?;
        let first = signals.next().await;
        tracing::info!(target: "windlass::worker", signal = first, "stopping; a second signal stops at once");
        let second = async move {
            signals.next().await;
        };
        Ok(self.stop(second).await)
    }

    /// Runs until `end` is ready, then shuts down within the grace.
    pub async fn run_until(self, end: impl Future<Output = ()>) -> Report {
        end.await;
        self.shutdown().await
    }

    /// Shuts down: stops fetching, lets what runs finish within the grace, gives back the rest.
    ///
    /// # Cancel safety
    /// If the future is dropped, fetching has stopped and what runs goes on.
    pub async fn shutdown(self) -> Report {
        self.stop(std::future::pending()).await
    }

    async fn stop(mut self, at_once: impl Future<Output = ()>) -> Report {
        let engine = Arc::clone(&self.engine);
        engine.stop.cancel();
        engine.executions.close();
        let grace = Instant::now() + self.grace;
        let until = tokio::select! {
            () = drained(&engine, self.grace) => grace,
            () = at_once => Instant::now(),
        };
        engine.leases.each_signal(|signal| signal.kill(Kill::Shutdown));
        if let Some(settling) = self.settling.take() {
            settled(&engine, settling, until).await;
        }
        let left = engine.leases.len();
        if left > 0 {
            let lease = engine.leases.lease();
            tracing::warn!(target: "windlass::worker", left, ?lease, "tasks not given back; they run again when their lease is over");
        }
        let report = engine.stats.report(left);
        tracing::info!(target: "windlass::worker", %report, "worker stopped");
        report
    }
}

async fn drained(engine: &Engine, grace: Duration) {
    if timeout(grace, engine.executions.wait()).await.is_ok() {
        return;
    }
    engine.leases.each_signal(|signal| signal.tell(Interrupt::Shutdown));
    let _ = timeout(LAST_WORDS, engine.executions.wait()).await;
}

async fn settled(engine: &Engine, mut settling: JoinHandle<()>, until: Instant) {
    if timeout(SETTLE, &mut settling).await.is_ok() {
        return;
    }
    // A callback that has begun since has the grace, too.
    if !engine.executions.is_empty() && timeout_at(until, &mut settling).await.is_ok() {
        return;
    }
    engine.abandon.cancel();
    let _ = timeout(LAST_WORDS, settling).await;
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.engine.stop.cancel();
    }
}

/// The signals that ask a process to end.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> windlass_core::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|error| {
                windlass_core::Error::new(windlass_core::ErrorKind::Internal, "worker", "cannot listen to signals")
                    .with_source(error)
            })
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    #[cfg(not(unix))]
    fn listen() -> windlass_core::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}
