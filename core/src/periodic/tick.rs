use std::fmt::Write as _;
use std::time::Duration;

use crate::{Result, TaskId, Timestamp};

/// The header that tells a task the name of the entry it comes from.
pub const HEADER_NAME: &str = "periodic.name";
/// The header that tells a task the tick it is for, as [`rfc3339`].
pub const HEADER_TICK: &str = "periodic.tick";

const DAY: i64 = 86_400_000;

/// The id of the task of a tick: `nightly:2026-03-29T01:00:00Z`.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if the name is longer than [`super::NAME_BYTES`].
pub fn tick_id(name: &str, tick: Timestamp) -> Result<TaskId> {
    TaskId::new(format!("{name}:{}", rfc3339(tick)))
}

/// A point in time as text: `2026-03-29T01:00:00Z`, with milliseconds if there are any.
pub fn rfc3339(at: Timestamp) -> String {
    let millis = at.as_millis();
    let (year, month, day) = civil(millis.div_euclid(DAY));
    let rest = millis.rem_euclid(DAY);
    let (hour, minute, second, milli) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if milli != 0 {
        let _ = write!(text, ".{milli:03}");
    }
    text.push('Z');
    text
}

/// Year, month and day of a number of days since 1970, counted in years that begin in March, so that
/// the odd day is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(ERA), shifted.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// How long after its tick a task comes: the same for everybody who asks, spread over `jitter`.
pub(super) fn offset(id: &TaskId, jitter: Duration) -> Duration {
    let millis = crate::time::millis(jitter);
    if millis == 0 {
        return Duration::ZERO;
    }
    // FNV-1a: any hash does that gives the same on every machine.
    let hash = id.with_str(|id| {
        id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    });
    Duration::from_millis(hash % millis)
}
