//! The thread that all connections of a backend live on.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use windlass_core::{Error, ErrorKind, Result};

/// Owns the thread "windlass-results" and the small runtime on it. Dropping it ends both, without
/// waiting for them.
///
/// The application's own runtime may be blocked by a handler; results arrive all the same.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Handle,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Thread {
    pub(crate) fn start() -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, "connect", "cannot start the thread of the Redis backend")
                .with_source(error)
        };
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        // Built on the thread, because a runtime must not be dropped inside another one.
        let body = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = started.send(Ok(runtime.handle().clone()));
                // Ends with an error when the backend is dropped or closed.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            }
            Err(error) => drop(started.send(Err(error))),
        };
        thread::Builder::new().name("windlass-results".to_owned()).spawn(body).map_err(failed)?;
        match has_started.recv() {
            Ok(built) => Ok(Self { handle: built.map_err(failed)?, stop: Mutex::new(Some(stop)) }),
            Err(error) => Err(failed(std::io::Error::other(error))),
        }
    }

    /// Ends the thread and everything that runs on it.
    pub(crate) fn stop(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(self.handle.clone())
    }
}

/// Starts work on the thread, and lends its clock.
#[derive(Debug, Clone)]
pub(crate) struct Spawner(Handle);

impl Spawner {
    /// Starts `work` that nobody waits for.
    pub(crate) fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }

    /// What `work` gives, or `None` if it takes longer than `span`. Runs where the caller is, by
    /// the clock of the thread, because the caller's runtime can be paused or have no clock.
    pub(crate) async fn within<T>(&self, span: Duration, work: impl Future<Output = T>) -> Option<T> {
        let timer = {
            let _context = self.0.enter();
            tokio::time::sleep(span)
        };
        // In this order, because a timer must not be asked when its thread has ended; all work
        // ends before, with an error.
        tokio::select! {
            biased;
            answer = work => Some(answer),
            () = timer => None,
        }
    }
}
