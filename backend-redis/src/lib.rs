#![doc = include_str!("../README.md")]

mod backend;
mod board;
mod config;
mod connection;
mod error;
mod inbox;
mod keys;
mod register;
mod scripts;
mod store;
mod thread;
mod wait;

pub use backend::RedisBackend;
pub use config::RedisBackendConfig;
