#![doc = include_str!("../README.md")]

mod backend;
mod board;
mod config;
mod connection;
mod error;
mod lane;
mod lent;
mod listener;
mod migrate;
mod notebook;
mod opener;
pub mod outbox;
mod poll;
mod retention;
mod row;
mod statements;
mod store;
mod thread;
mod wait;

pub use backend::PostgresBackend;
pub use config::{PostgresBackendConfig, SCHEMES};
pub use migrate::migrations_sql;
pub use outbox::{Outbox, OutboxConfig, OutboxStats, Relay, RelayReport, StuckPage, StuckRow};
