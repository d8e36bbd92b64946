//! Tests of the testing crate.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod assert;
mod broken;
mod clock;
mod conformance;
mod example;
mod example_notebook;
mod fault;
#[cfg(feature = "harness")]
mod harness;
mod limited;
mod memory;
mod mock;
mod notebook;
mod servers;
