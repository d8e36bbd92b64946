//! Where the connections of a backend live, and the clock that they go by.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use windlass_core::{Error, ErrorKind, Result};

/// A thread "windlass-results" with a small runtime, or the runtime of the application. Dropping it
/// ends all work on it, without waiting.
///
/// On its own thread, a backend goes on while a handler blocks the application's runtime, and what
/// the application drops or aborts leaves no connection with half an answer. Connections of the
/// application's pool belong to the application's runtime, so there is no choice for them.
#[derive(Debug)]
pub(crate) struct Thread {
    spawner: Spawner,
    ended: Arc<watch::Sender<bool>>,
    /// Ends the runtime of the thread; none if it is the application's.
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Thread {
    /// A thread of our own.
    pub(crate) fn start() -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, "connect", "cannot start the thread of the Postgres backend")
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
            Ok(built) => Ok(Self::on(built.map_err(failed)?, Some(stop))),
            Err(error) => Err(failed(std::io::Error::other(error))),
        }
    }

    /// The runtime that we are called on.
    pub(crate) fn lent() -> Result<Self> {
        let handle = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Config, "connect", "a pool can only be taken over inside a tokio runtime")
                .with_source(error)
        })?;
        Ok(Self::on(handle, None))
    }

    fn on(handle: Handle, stop: Option<oneshot::Sender<()>>) -> Self {
        let ended = Arc::new(watch::Sender::new(false));
        Self { spawner: Spawner { handle, ended: ended.subscribe() }, ended, stop: Mutex::new(stop) }
    }

    /// Ends everything that runs on it.
    pub(crate) fn stop(&self) {
        self.ended.send_replace(true);
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts work on the thread, and lends its clock.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    handle: Handle,
    ended: watch::Receiver<bool>,
}

impl Spawner {
    /// Starts `work` that nobody waits for; it is dropped at the end of the backend.
    pub(crate) fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut ended = self.ended.clone();
        self.handle.spawn(async move {
            tokio::select! {
                () = work => {}
                // An error means the same.
                _ = ended.wait_for(|ended| *ended) => {}
            }
        });
    }

    /// What `work` gives, which goes on if nobody waits for it any more; `None` if the backend ends first.
    pub(crate) async fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.handle.spawn(work).await.ok()
    }

    /// What `work` gives, or `None` if it takes longer than `span`. Runs where the caller is, by
    /// the clock of the thread, because the caller's runtime can be paused or have no clock.
    pub(crate) async fn within<T>(&self, span: Duration, work: impl Future<Output = T>) -> Option<T> {
        let timer = {
            let _context = self.handle.enter();
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
