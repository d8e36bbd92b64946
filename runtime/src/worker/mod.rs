//! Runs tasks: fetch, execute, settle, keep leases, shut down.

mod beside;
mod builder;
mod completion;
mod engine;
mod lane;
mod lease;
pub mod middleware;
mod redelivery;
mod run;
mod settle;
mod shutdown;
mod signal;
mod stats;

pub use beside::Stop;
pub use builder::{WorkerBuilder, WorkerSettings};
pub use shutdown::Worker;
pub use stats::Report;
