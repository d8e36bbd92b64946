//! A broker and a backend in the memory of this process, with the same guarantees as the others.
//!
//! They follow tokio's clock, so that a paused runtime makes a day's delay a matter of microseconds.
//! Messages and records are kept as their wire bytes, so that what would not survive a real store
//! does not survive here either.

mod backend;
mod broker;
mod notebook;
mod notes;
mod queue;

pub use backend::MemoryBackend;
pub use broker::MemoryBroker;
pub use queue::Counts;
