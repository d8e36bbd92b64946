//! Tests of the Redis backend on private servers.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod conformance;
mod faults;
mod notes;
mod signals;
mod storage;
mod support;
mod waiting;
