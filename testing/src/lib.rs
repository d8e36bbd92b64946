#![cfg_attr(feature = "harness", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "harness"),
    doc = "Test windlass tasks without infrastructure. The README shows everything; its example needs the feature `harness`."
)]

#[cfg(feature = "memory")]
pub mod assert;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod fault;
pub mod fixture;
#[cfg(feature = "harness")]
mod harness;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mock")]
pub mod mock;
#[cfg(feature = "servers")]
pub mod servers;

pub use clock::{ManualClock, TokioClock};
#[cfg(feature = "harness")]
pub use harness::Harness;
#[cfg(feature = "memory")]
pub use memory::{MemoryBackend, MemoryBroker};
