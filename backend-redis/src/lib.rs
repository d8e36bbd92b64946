#![doc = include_str!("../README.md")]

mod backend;
mod board;
mod config;
mod connection;
mod ears;
mod error;
mod inbox;
mod keys;
mod notebook;
mod notes;
mod register;
mod scripts;
mod sets;
mod signals;
mod store;
mod thread;
mod wait;

pub use backend::RedisBackend;
pub use config::RedisBackendConfig;
