#![doc = include_str!("../README.md")]

mod bell;
mod broker;
mod config;
mod connection;
mod consume;
mod error;
mod inspect;
mod keys;
mod publish;
mod scripts;
mod server;
mod settle;
mod thread;

pub use broker::RedisBroker;
pub use config::RedisBrokerConfig;

/// The URL schemes that this broker takes.
pub const SCHEMES: &[&str] = &["redis", "redis+unix", "unix"];
