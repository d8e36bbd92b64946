//! Tests of what `#[task]` makes of functions that it accepts.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the message")]

// The attribute names the facade, which is a crate above this one; here the tests take its place.
extern crate self as windlass;
pub use windlass_macros::task;

#[doc(hidden)]
pub mod __private {
    pub use std;
    pub use windlass_core::task::{FromContext, IntoAnswer, Step, Work};
    pub use windlass_core::{Backoff, Call, Context, Options, QueueName, Retention, RetryOn, Task, TaskError};
}

mod hygiene;
mod options;
mod run;
mod shape;
mod support;
