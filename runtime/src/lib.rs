//! The verbs of windlass: send a task, wait for it, run it.
//!
//! Knows brokers and backends only by the traits of `windlass-core`. Applications use the
//! `windlass` crate, which adds adapters, configuration and the `#[task]` attribute.

mod client;
mod clock;
mod handle;
mod ledger;
mod pause;
mod publisher;
pub mod worker;

pub use client::{Client, ClientSettings};
pub use clock::SystemClock;
pub use handle::{ResultError, Status, TaskHandle};
pub use worker::middleware::{Middleware, Next, RunError, RunResult};
pub use worker::{Report, Worker, WorkerBuilder, WorkerSettings};
