//! Tests of the core: tables, properties and golden files.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod aging;
mod bounds;
mod control;
mod flow;
mod flow_walk;
mod handler;
mod ids;
mod options;
mod periodic;
mod priority;
mod record;
mod retry;
mod strategies;
mod time;
mod transition;
mod walk;
mod wire;
