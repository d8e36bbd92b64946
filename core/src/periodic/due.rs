use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Timestamp};

/// A tick that is older than this is missed; a younger one is only a little late.
pub const LATE: Duration = Duration::from_secs(60);

/// What was done further ahead than this was done by a clock that was wrong.
///
/// It is the time for which ids of ticks are remembered ([`super::REMEMBER`]), so that what comes again
/// when the clock is set right is refused.
pub const AHEAD: Duration = super::REMEMBER;

/// The span of the first look for the newest ticks, and how much longer each further one is.
const WINDOW: Duration = Duration::from_secs(60);
const WIDER: u32 = 4;

/// Most ticks that may be caught up with.
const CATCH_UP: u32 = 1000;

/// What becomes of ticks during which no scheduler ran. Quartz calls them misfires.
#[doc(alias = "misfire")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissedTicks {
    /// They are left out; a tick that is at most a minute old still counts as on time.
    Skip,
    /// The newest of them comes, in the place of all.
    #[default]
    Once,
    /// Each of them comes, of many the newest.
    All {
        /// At most this many at once: 1 to 1000.
        max: u32,
    },
}

impl MissedTicks {
    /// Refuses a number that makes no sense.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] that names the limits.
    pub fn check(self) -> Result<()> {
        match self {
            Self::All { max } if !(1..=CATCH_UP).contains(&max) => {
                Err(Error::invalid("missed", format_args!("all up to {max}"), format_args!("all up to 1 … {CATCH_UP}")))
            }
            _ => Ok(()),
        }
    }

    fn most(self) -> usize {
        match self {
            Self::All { max } => max.clamp(1, CATCH_UP) as usize,
            Self::Skip | Self::Once => 1,
        }
    }
}

/// What a look at an entry finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The ticks that are to come now, the oldest first.
    pub ticks: Vec<Timestamp>,
    /// The newest tick that is dealt with, once these have come.
    pub last: Timestamp,
    /// The tick after that; `None` if there is none.
    pub next: Option<Timestamp>,
    /// Whether ticks are left out because they were missed.
    pub left_out: bool,
}

/// Which ticks are to come now, if `last` is the newest one that is dealt with and `after` gives the
/// first tick after a point in time.
///
/// Costs no more after a pause of years than after one of a minute. If the clock goes back, nothing
/// comes until it has passed `last` again; what is further ahead than [`AHEAD`] is forgotten.
pub fn due(
    missed: MissedTicks,
    last: Timestamp,
    now: Timestamp,
    after: impl Fn(Timestamp) -> Option<Timestamp>,
) -> Look {
    if last > now.plus(AHEAD) {
        return Look { ticks: Vec::new(), last: now, next: after(now), left_out: false };
    }
    let first = match after(last) {
        Some(first) if first <= now => first,
        next => return Look { ticks: Vec::new(), last, next, left_out: false },
    };
    let mut ticks = newest(missed.most(), last, now, &after);
    let newest = ticks.back().copied().unwrap_or(first);
    if missed == MissedTicks::Skip && now.since(newest) > LATE {
        ticks.clear();
    }
    let left_out = ticks.front().is_none_or(|oldest| *oldest > first);
    Look { ticks: ticks.into(), last: newest, next: after(newest), left_out }
}

/// The newest ticks, at most `most`, after `last` and up to `now`.
fn newest(
    most: usize,
    last: Timestamp,
    now: Timestamp,
    after: impl Fn(Timestamp) -> Option<Timestamp>,
) -> VecDeque<Timestamp> {
    let mut window = WINDOW;
    loop {
        let from = before(now, window).max(last);
        let mut ticks = VecDeque::with_capacity(most.min(64));
        let mut tick = after(from);
        while let Some(at) = tick.filter(|at| *at <= now) {
            if ticks.len() == most {
                ticks.pop_front();
            }
            ticks.push_back(at);
            tick = after(at);
        }
        if ticks.len() == most || from == last {
            return ticks;
        }
        window = window.saturating_mul(WIDER);
    }
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}
