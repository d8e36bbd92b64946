//! The verbs of windlass: send a task, wait for it, run it.
//!
//! Knows brokers and backends only by the traits of `windlass-core`. Applications use the
//! `windlass` crate, which adds adapters, configuration and the `#[task]` attribute.

mod cancel;
mod client;
mod clock;
mod dead;
mod flow;
mod handle;
mod history;
mod ledger;
mod notes;
mod pause;
#[cfg(feature = "periodic")]
pub mod periodic;
mod progress;
mod publisher;
mod queues;
pub mod worker;

pub use cancel::Cancellation;
pub use client::{Client, ClientSettings};
pub use clock::SystemClock;
pub use dead::{DeadLetters, Selection, Sweep};
pub use flow::{FlowHandle, FlowProgress};
pub use handle::{ResultError, Status, TaskHandle};
pub use history::Attempt;
pub use progress::ProgressStream;
pub use queues::Queue;
pub use worker::middleware::{Middleware, Next, RunError, RunResult};
pub use worker::{Addresses, OnEnd, Outcome, Panic, QueueOrder, Report, Worker, WorkerBuilder, WorkerSettings};
