//! What a worker gives to its tasks beside their arguments: children, progress, requests to end.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use windlass_core::task::{CallParts, Children, Enqueue, Enqueued, Reports};
use windlass_core::{Backend, Result, Shared};

use super::cancel;
use super::engine::Engine;
use super::lease::Leases;
use super::progress::{self, Reporter};
use crate::client::Client;

/// Enqueues the children of tasks by the client that the worker was made of.
#[derive(Debug)]
struct ByClient(Client);

#[async_trait]
impl Enqueue for ByClient {
    async fn enqueue(&self, calls: Vec<CallParts>) -> Vec<Result<Enqueued>> {
        let handles = match <[CallParts; 1]>::try_from(calls) {
            // One alone shares its round trip with those of other tasks.
            Ok([call]) => vec![self.0.enqueue_part::<()>(call).await],
            Err(calls) => self.0.enqueue_parts(calls.into_iter().map(Ok)).await,
        };
        let enqueued = |handle: crate::TaskHandle<()>| Enqueued {
            id: handle.id().clone(),
            queue: handle.queue().clone(),
            is_new: handle.is_new(),
        };
        handles.into_iter().map(|handle| handle.map(enqueued)).collect()
    }
}

/// Who takes the progress of tasks, if the backend can keep it.
pub(super) fn reporter(backend: Option<&Arc<dyn Backend>>, leases: &Arc<Leases>) -> Option<Arc<Reporter>> {
    backend?.notebook().map(|_| Arc::new(Reporter::new(Arc::clone(leases))))
}

/// The values of the application with those of the worker, unless the application has put its own there.
pub(super) fn shared(mut shared: Shared, client: &Client, reporter: Option<&Arc<Reporter>>) -> Shared {
    if shared.get::<Children>().is_none() {
        shared.insert(Children(Arc::new(ByClient(client.clone()))));
    }
    if let (Some(reporter), None) = (reporter, shared.get::<Reports>()) {
        shared.insert(Reports(Arc::clone(reporter) as _));
    }
    shared
}

impl Engine {
    /// Begins what goes on beside the running of tasks, until `done`.
    pub(super) fn attend(self: &Arc<Self>, done: &CancellationToken) {
        if let (Some(reporter), Some(backend)) = (&self.reporter, &self.backend) {
            tokio::spawn(progress::run(Arc::clone(reporter), Arc::clone(backend), done.clone()));
            tokio::spawn(cancel::follow(Arc::clone(self), done.clone()));
        }
    }
}
