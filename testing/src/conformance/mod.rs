//! The suites that every adapter passes, ours or foreign: one function per guarantee.
//!
//! An adapter's own tests are one line each:
//!
//! ```
//! # async fn connect() -> windlass_testing::MemoryBroker { windlass_testing::MemoryBroker::new() }
//! # async fn connect_backend() -> windlass_testing::MemoryBackend { windlass_testing::MemoryBackend::new() }
//! mod broker {
//!     use std::sync::Arc;
//!     windlass_testing::broker_conformance!(async { Arc::new(super::connect().await) });
//! }
//! mod backend {
//!     use std::sync::Arc;
//!     windlass_testing::backend_conformance!(async { Arc::new(super::connect_backend().await) });
//! }
//! // For a backend that has a notebook.
//! mod notebook {
//!     use std::sync::Arc;
//!     windlass_testing::notebook_conformance!(async { Arc::new(super::connect_backend().await) });
//! }
//! # fn main() {}
//! ```
//!
//! The expression is a future of an `Arc` of the adapter. It is awaited once per test, on a runtime
//! of that test. All tests use queues and ids of their own, so they can share one server.
//!
//! Three more things can be given, in this order; guarantees that need one that is not given are not
//! tested:
//!
//! ```
//! # use windlass_testing::MemoryBroker;
//! # async fn pair() -> (std::sync::Arc<MemoryBroker>, std::sync::Arc<MemoryBroker>) { Default::default() }
//! # async fn disturbed() -> (std::sync::Arc<MemoryBroker>, fn()) { (Default::default(), || ()) }
//! mod broker {
//!     use super::{disturbed, pair};
//!     windlass_testing::broker_conformance!(
//!         async { pair().await.0 },
//!         // What the adapter is called in reports; without it, the name in its capabilities.
//!         name = "memory, twice",
//!         // A future of two adapters that were connected to one store, each for itself.
//!         pair = pair(),
//!         // A future of an adapter and of a function that breaks its connections, once for each call.
//!         disturbed = disturbed(),
//!     );
//! }
//! # fn main() {}
//! ```
//!
//! What an adapter says that it cannot do ([`Capabilities`](windlass_core::Capabilities),
//! [`BackendCapabilities`](windlass_core::BackendCapabilities)) is not asked of it; instead, the suite
//! checks that it refuses. Which guarantee needs what is data: [`broker::GUARANTEES`],
//! [`backend::GUARANTEES`], [`notebook::GUARANTEES`].
//!
//! If the variable `CONFORMANCE_GUARANTEES` names a folder, every test that passes appends to a file in it
//! which guarantee was kept, or was not offered by which adapter, so that a page can be made of it.

pub mod backend;
pub mod broker;
mod expand;
mod guarantee;
pub mod notebook;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::Timestamp;

pub use guarantee::{Guarantee, Need, Stage, Trial};

/// How long the suites wait for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long one guarantee may take altogether.
const LIMIT: Duration = Duration::from_secs(120);

/// Breaks every connection between an adapter and its store, once for each call; new connections work.
pub struct Disturb(Box<dyn Fn() + Send + Sync>);

impl Disturb {
    /// Calls `disturb`, which returns when the connections are broken.
    pub fn new(disturb: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(disturb))
    }

    fn now(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Disturb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disturb")
    }
}

/// Runs one guarantee on a runtime of its own with two threads. For [`broker_conformance!`],
/// [`backend_conformance!`](crate::backend_conformance) and
/// [`notebook_conformance!`](crate::notebook_conformance).
///
/// # Panics
/// If the guarantee is not kept, or not shown in time.
///
/// [`broker_conformance!`]: crate::broker_conformance
pub fn run(guarantee: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the test");
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, guarantee).await.unwrap_or_else(|_| panic!("it took longer than {LIMIT:?}"));
    });
    // A thread that is blocked in a driver must not keep a test from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// Waits until `probe` answers something, at most `patience`.
///
/// # Panics
/// If it does not in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    patience: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + patience;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        tick.tick().await;
    }
}

/// Lets time pass where time itself is what is tested.
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

/// That many milliseconds.
const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The difference of two points in time, whichever is earlier.
fn distance(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}
