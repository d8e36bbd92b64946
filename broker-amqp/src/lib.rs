#![doc = include_str!("../README.md")]

mod absent;
mod broker;
mod config;
mod confirm;
mod connection;
mod consume;
mod dead;
mod delay;
mod envelope;
mod error;
mod level;
mod publish;
mod route;
mod sender;
mod session;
mod settle;
mod socket;
mod state;
mod sweep;
mod tags;
mod thread;
mod topology;

pub use broker::AmqpBroker;
pub use config::{AmqpBrokerConfig, QueueType};

/// The URL schemes that this broker takes; `amqps` is refused with a text.
pub const SCHEMES: &[&str] = &["amqp"];
