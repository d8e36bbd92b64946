//! Tests of client, handle and worker over the adapters in memory, in virtual time.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod support;

mod aging;
mod builder;
mod callbacks;
mod cancel;
mod concurrency;
mod control;
mod dead;
mod enqueue;
mod flow;
mod flow_crash;
mod flow_many;
mod full;
mod handle;
mod history;
mod ledger;
mod limits;
mod logging;
mod loss;
mod middleware;
mod moving;
mod options;
mod order;
mod outage;
mod panics;
mod pausing;
#[cfg(feature = "periodic")]
mod periodic;
mod priority;
mod progress;
mod purge;
mod real_time;
mod retry;
mod review;
mod schedule;
mod shutdown;
mod sweep;
mod timeout;
