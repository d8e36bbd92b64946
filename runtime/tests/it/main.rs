//! Tests of client, handle and worker over the adapters in memory, in virtual time.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod support;

mod builder;
mod concurrency;
mod dead;
mod enqueue;
mod handle;
mod ledger;
mod limits;
mod loss;
mod middleware;
mod options;
mod outage;
mod panics;
mod priority;
mod real_time;
mod retry;
mod schedule;
mod shutdown;
mod timeout;
