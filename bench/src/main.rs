//! The benchmark program of windlass: what a task costs, beside what it costs without windlass.
//!
//! `cargo run --release -p windlass-bench -- <probe> --broker URL`; see `bench/README.md`.

mod floor;
mod options;
mod probe;
mod relay;
mod report;
mod sample;
mod server;
mod target;

use std::process::ExitCode;

use clap::Parser;

use options::Options;

/// The outcome of a step; what went wrong is text for a person.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let options = Options::parse();
    match probe::measure(&options) {
        Ok(report) => {
            println!("{}", if options.json { report.json() } else { report.table() });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
