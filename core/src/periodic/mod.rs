//! Tasks that come again and again: the rules, without a clock and without a calendar.
//!
//! An [`Entry`] says which task comes when. The points in time at which it comes are its *ticks*. What
//! reads cron expressions and knows time zones is passed in as a function from a point in time to the
//! next tick after it, so that everything here is arithmetic.
//!
//! # Why no tick is lost and none comes twice
//!
//! Schedulers share nothing but the note of the entry, which changes by compare-and-set. Of each batch
//! of ticks a scheduler
//!
//! 1. **claims**: writes the note with the new [`Entry::last`] and the ticks as [`Entry::claim`],
//! 2. **publishes** a task of each tick, whose id is made of name and tick,
//! 3. **clears** the claim from the note.
//!
//! | what ends a scheduler, or is between two of them | what follows |
//! |---|---|
//! | it dies before 1, or 1 is refused | nothing has happened: the tick is still due, for everybody |
//! | two want the same tick | the note has changed for the second one, who is refused and looks again |
//! | it dies between 1 and 2, or within 2 | the claim stays; who has seen it stand for [`Claim::TAKE_OVER`] takes it over (by compare-and-set), leaves out what has ended by its record, and publishes: ids that are there already are refused by the broker |
//! | it dies between 2 and 3 | the same; nothing is published |
//! | it is stopped between 1 and 2, for hours | it does not publish what it claimed longer than [`Claim::FRESH`] ago, but takes its claim over again first; somebody else has done so meanwhile, and it is refused |
//! | it is stopped between that look and its publish | the broker has the id of the first publish: of a task that waits or runs, and for [`REMEMBER`] after its end |
//! | people change, pause or remove the entry meanwhile | 1 or 3 is refused, and it looks again; what is claimed still goes where it was claimed for. With a removed entry its claim goes too |
//! | a new tick comes while a claim stands | it waits: claims of one entry follow one another |
//!
//! So a tick could come twice only if a scheduler is stopped within the few instructions between that
//! look and its publish, for longer than a day after the task has ended.

mod cadence;
mod due;
mod entry;
mod tick;

pub use cadence::Cadence;
pub use due::{AHEAD, LATE, Look, MissedTicks, due};
pub use entry::{Claim, Entry, NAME_BYTES, REMEMBER, check_name};
pub use tick::{HEADER_NAME, HEADER_TICK, rfc3339, tick_id};
