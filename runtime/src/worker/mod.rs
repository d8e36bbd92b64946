//! Runs tasks: fetch, execute, settle, keep leases, shut down.

mod builder;
mod completion;
mod engine;
mod lane;
mod lease;
pub mod middleware;
mod run;
mod settle;
mod shutdown;
mod signal;
mod stats;

pub use builder::{WorkerBuilder, WorkerSettings};
pub use shutdown::Worker;
pub use stats::Report;
