#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod app;
mod config;
mod connect;
#[cfg(feature = "postgres")]
mod outbox;

pub use app::{Builder, Windlass};
pub use config::{AdapterConfig, Config, DefaultsConfig, LimitsConfig, WorkerConfig};

/// The state of a task, as [`Status`] tells it.
pub use windlass_core::State as TaskState;
pub use windlass_core::task::State;
pub use windlass_core::{
    Backend, Backoff, Broker, Call, CancelOutcome, Context, DeadLetter, DeadPage, Error, ErrorKind, Failure,
    FailureKind, Interrupt, IntoDuration, Priority, QueueName, Result, Retention, RetryOn, Task, TaskDef, TaskError,
    TaskId, Timestamp,
};
pub use windlass_runtime::{
    Client, Middleware, Next, Report, ResultError, RunError, RunResult, Status, TaskHandle, Worker, WorkerBuilder,
};

/// Makes a task of a function; see the crate documentation.
#[cfg(feature = "macros")]
pub use windlass_macros::task;

/// The transactional outbox; see [`Windlass::enqueue_in`].
#[cfg(feature = "postgres")]
pub use windlass_backend_postgres::{Outbox, OutboxConfig, OutboxStats, StuckPage, StuckRow};

/// The types of the contract with stores, for authors of adapters.
pub use windlass_core as core;
/// The runtime without adapters, for those who bring their own.
pub use windlass_runtime as runtime;

/// What an application needs most often.
pub mod prelude {
    #[cfg(feature = "macros")]
    pub use crate::task;
    pub use crate::{Call, Context, State, Task, TaskDef, TaskError, TaskHandle, Windlass, Worker};
}

/// What `#[task]` expands to. Not public.
#[doc(hidden)]
pub mod __private {
    pub use std;
    pub use windlass_core::message::Options;
    pub use windlass_core::policy::{Backoff, RetryOn};
    pub use windlass_core::task::{Call, Context, FromContext, IntoAnswer, State, Task, TaskError, Work};
    pub use windlass_core::{QueueName, Retention};
}
