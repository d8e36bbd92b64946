//! Runs tasks: fetch, execute, settle, keep leases, shut down.

mod aftermath;
mod announce;
mod beside;
mod builder;
mod callbacks;
mod cancel;
mod completion;
mod engine;
mod flow;
mod history;
mod lane;
mod lease;
pub mod middleware;
mod panic;
mod progress;
mod redelivery;
mod run;
mod services;
mod settings;
mod settle;
mod shutdown;
mod signal;
mod stats;
mod stuck;

pub use beside::Stop;
pub use builder::WorkerBuilder;
pub use callbacks::{OnEnd, Outcome};
pub use lane::QueueOrder;
pub use panic::Panic;
pub use settings::{Addresses, WorkerSettings};
pub use shutdown::Worker;
pub use stats::Report;
