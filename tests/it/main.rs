//! Tests of the facade: configuration, bad input, the text files, and whole programs on real servers.

mod bad_input;
mod child;
mod config;
mod files;
mod kill;
mod kill_pairs;
mod outbox;
mod stores;
mod swap;
mod ui;
