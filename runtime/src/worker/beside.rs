//! Work of the application that lives as long as a worker does.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

/// Is ready when the worker stops.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

type Begin = dyn FnOnce(Stop) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send;

/// Something that has not begun.
pub(super) struct Beside(Box<Begin>);

impl Beside {
    pub(super) fn new<W: Future<Output = ()> + Send + 'static>(begin: impl FnOnce(Stop) -> W + Send + 'static) -> Self {
        Self(Box::new(|stop| Box::pin(begin(stop))))
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let work = (self.0)(Box::pin(stop.cancelled_owned()));
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            tracing::error!(target: "windlass::worker", "what runs beside the worker has panicked and does not go on");
        }
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}
