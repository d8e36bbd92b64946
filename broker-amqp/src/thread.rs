//! The thread that all connections of a broker live on.

use std::future::Future;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};
use windlass_core::{Error, ErrorKind, Result};

/// Owns the thread "windlass-amqp" and the small runtime on it. Dropping it ends both, without
/// waiting for them.
///
/// The application's own runtime may be blocked by a handler; heartbeats and acknowledgements go out all the same.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Thread {
    pub(crate) fn start() -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, "connect", "cannot start the thread of the RabbitMQ broker")
                .with_source(error)
        };
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let body = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = started.send(Ok(runtime.handle().clone()));
                // Ends with an error when the broker is dropped or closed.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            }
            Err(error) => drop(started.send(Err(error))),
        };
        thread::Builder::new().name("windlass-amqp".to_owned()).spawn(body).map_err(failed)?;
        match has_started.recv() {
            Ok(built) => Ok(Self { handle: built.map_err(failed)?, _stop: stop }),
            Err(error) => Err(failed(std::io::Error::other(error))),
        }
    }

    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(self.handle.clone())
    }
}

/// Starts work on the thread.
#[derive(Debug, Clone)]
pub(crate) struct Spawner(Handle);

impl Spawner {
    /// Starts `work` at once. It goes on if the caller stops waiting for it.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        let running = self.0.spawn(work);
        async { running.await.map_err(|_| closed()) }
    }

    /// The end of a span by the clock of the thread; can be awaited on any runtime, also on one
    /// whose clock is stopped. Must not be polled after the end of the thread.
    pub(crate) fn sleep(&self, span: Duration) -> Sleep {
        let _guard = self.0.enter();
        sleep(span)
    }

    /// Starts `work` that nobody waits for.
    pub(crate) fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }
}

/// The answer to everything after the end.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "amqp broker", "it was closed")
}
