//! The command line.

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures windlass and, in the same run, the floor: the cheapest honest task without windlass.
#[derive(Debug, Clone, Parser)]
#[command(name = "windlass-bench")]
pub(crate) struct Options {
    /// What to measure.
    pub(crate) probe: Probe,
    /// Where tasks wait: redis://host:port or memory://.
    #[arg(long, value_name = "URL")]
    pub(crate) broker: String,
    /// Where results are kept; by default where tasks wait.
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,
    /// How many tasks; each probe has its own default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tasks: Option<u64>,
    /// How many tasks the worker runs at the same time.
    #[arg(long, default_value_t = 100)]
    pub(crate) concurrency: usize,
    /// How often to measure; the figures are medians.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) repeat: u64,
    /// Remove all data of the broker's server before each measurement. Only for a server of your own.
    #[arg(long)]
    pub(crate) flush: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// How many tasks to send.
    pub(crate) fn tasks(&self) -> usize {
        let tasks = self.tasks.unwrap_or(match self.probe {
            Probe::Floor | Probe::Enqueue | Probe::Drain => 100_000,
            Probe::Memory => 50_000,
            Probe::Latency => 2_000,
            Probe::Idle => 1,
        });
        usize::try_from(tasks).unwrap_or(usize::MAX)
    }
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Probe {
    /// The cheapest honest task straight on the driver.
    Floor,
    /// Sending tasks one by one, concurrently and in bulk.
    Enqueue,
    /// Working off tasks that wait already, with and without results.
    Drain,
    /// From sending a task to holding its result.
    Latency,
    /// The commands of a worker that has nothing to do.
    Idle,
    /// The bytes of a waiting and of a finished task.
    Memory,
}
