//! Periodic tasks: calendars, entries, and fleets of schedulers with faults, in virtual time.

mod calendar;
mod chaos;
mod clock;
mod entries;
mod fleet;
mod policy;
