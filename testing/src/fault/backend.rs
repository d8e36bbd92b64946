use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{Backend, BackendCapabilities, Notebook, Record, Result, SaveOutcome, TaskId};

use super::Faults;

/// A call of a [`Backend`] or of its [`Notebook`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum BackendCall {
    Save,
    Load,
    Wait,
    Forget,
    Read,
    Write,
    List,
    Gather,
    Gathered,
    Signal,
    Listen,
}

impl From<BackendCall> for &'static str {
    fn from(call: BackendCall) -> Self {
        match call {
            BackendCall::Save => "save",
            BackendCall::Load => "load",
            BackendCall::Wait => "wait",
            BackendCall::Forget => "forget",
            BackendCall::Read => "read",
            BackendCall::Write => "write",
            BackendCall::List => "list",
            BackendCall::Gather => "gather",
            BackendCall::Gathered => "gathered",
            BackendCall::Signal => "signal",
            BackendCall::Listen => "listen",
        }
    }
}

/// A backend that fails when a test says so, and its notebook with it. Has the methods of [`Faults`].
///
/// Who listens hears nothing during an outage, and after it that signals may have been missed.
#[derive(Debug)]
pub struct FaultyBackend {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) faults: Faults<BackendCall>,
}

impl FaultyBackend {
    /// Wraps a backend; nothing goes wrong yet.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner, faults: Faults::default() }
    }
}

impl Deref for FaultyBackend {
    type Target = Faults<BackendCall>;

    fn deref(&self) -> &Self::Target {
        &self.faults
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Backend for FaultyBackend {
    fn capabilities(&self) -> BackendCapabilities {
        self.inner.capabilities()
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.faults.around(BackendCall::Save, self.inner.save(records)).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.faults.around(BackendCall::Load, self.inner.load(ids)).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.faults.around(BackendCall::Wait, self.inner.wait(id, timeout)).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.faults.around(BackendCall::Forget, self.inner.forget(ids)).await
    }

    fn notebook(&self) -> Option<&dyn Notebook> {
        self.inner.notebook().map(|_| self as &dyn Notebook)
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
