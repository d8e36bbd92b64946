#![doc = include_str!("../README.md")]

mod absent;
mod broker;
mod buffer;
mod config;
mod confirm;
mod connection;
mod consume;
mod count;
mod dead;
mod delay;
mod envelope;
mod error;
mod gauge;
mod level;
mod publish;
mod reading;
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
mod trim;
mod turn;

pub use broker::AmqpBroker;
pub use config::{AmqpBrokerConfig, QueueType};

/// The URL schemes that this broker takes; `amqps` is refused with a text.
pub const SCHEMES: &[&str] = &["amqp"];
