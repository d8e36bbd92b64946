//! Tests of the facade: configuration, bad input, the text files, and whole programs on real servers.

mod bad_input;
mod child;
mod config;
mod files;
mod kill;
mod kill_flows;
mod kill_pairs;
mod outbox;
mod periodic;
mod queues;
mod start;
mod stores;
mod swap;
mod ui;
