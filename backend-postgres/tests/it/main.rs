//! Tests of the Postgres backend on private servers.

mod conformance;
mod connecting;
mod faults;
mod migrations;
mod notebook;
mod outbox;
mod plans;
mod pooler;
mod server;
mod storage;
mod support;
mod waiting;
