//! Tests of the Redis backend on private servers.

mod conformance;
mod faults;
mod storage;
mod support;
mod waiting;
