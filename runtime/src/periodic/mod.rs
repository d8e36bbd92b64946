//! Periodic tasks: entries that any process may change, and schedulers that make tasks of their ticks.
//!
//! The rules, and the argument why no tick is lost and none comes twice, are in
//! [`windlass_core::periodic`].

mod agenda;
mod calendar;
mod definition;
mod publish;
mod round;
mod scheduler;
mod shelf;
mod tasks;

pub use definition::Periodic;
pub use scheduler::Scheduler;
pub use tasks::{Ensured, PeriodicEntry, PeriodicPage, PeriodicTasks};
pub use windlass_core::periodic::{Cadence, MissedTicks};
