//! Tests on real servers.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod conformance;
mod redis_only;
