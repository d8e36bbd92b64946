#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod app;
mod config;
mod connect;
#[cfg(feature = "postgres")]
mod outbox;
mod periodic;

pub use app::{Builder, Windlass};
pub use config::{AdapterConfig, Config, DefaultsConfig, LimitsConfig, QueueConfig, WorkerConfig};

/// The state of a task, as [`Status`] tells it.
pub use windlass_core::State as TaskState;
pub use windlass_core::broker::Overflow;
pub use windlass_core::flow::{Flow, Group, IntoFlow, group, join, map};
pub use windlass_core::policy::PriorityOrder;
pub use windlass_core::task::State;
pub use windlass_core::task::Step;
/// What a task enqueues, and who does it; tests put a fake among the shared values.
pub use windlass_core::task::{Children, Enqueue, Enqueued};
pub use windlass_core::{
    Backend, Backoff, Broker, Call, CancelOutcome, Context, DeadLetter, DeadPage, Error, ErrorKind, Failure,
    FailureKind, Interrupt, IntoDuration, Priority, QueueName, Result, Retention, RetryOn, Task, TaskDef, TaskError,
    TaskId, Timestamp,
};
pub use windlass_runtime::{Attempt, Cancellation, OnEnd, Outcome, Panic, ProgressStream};
pub use windlass_runtime::{
    Client, DeadLetters, FlowHandle, FlowProgress, Middleware, Next, Queue, QueueOrder, Report, ResultError, RunError,
    RunResult, Selection, Status, Sweep, TaskHandle, Worker, WorkerBuilder,
};

/// Makes a task of a function; see the crate documentation.
#[cfg(feature = "macros")]
pub use windlass_macros::task;

/// The transactional outbox; see [`Windlass::enqueue_in`].
#[cfg(feature = "postgres")]
pub use windlass_backend_postgres::{Outbox, OutboxConfig, OutboxStats, StuckPage, StuckRow};

pub use periodic::PeriodicConfig;
/// Periodic tasks; see [`Windlass::periodic`].
#[cfg(feature = "periodic")]
pub use windlass_runtime::periodic::{
    Cadence, Ensured, MissedTicks, Periodic, PeriodicEntry, PeriodicPage, PeriodicTasks, Scheduler,
};

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
    pub use windlass_core::task::{Call, Context, FromContext, IntoAnswer, State, Step, Task, TaskError, Work};
    pub use windlass_core::{QueueName, Retention};
}
