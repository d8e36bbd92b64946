use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, IntoDuration, Result, Timestamp};

const MICROS: i128 = 1_000_000;
/// The shortest and the longest interval.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// When a task comes: by the calendar of a place, or at a fixed pace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cadence {
    /// By a cron expression, read in a time zone.
    Cron {
        /// Five fields (minute, hour, day, month, weekday), or six with the second first.
        expression: String,
        /// The IANA name of the time zone.
        zone: String,
    },
    /// At a fixed pace, whatever clocks on walls show.
    Every {
        /// From one tick to the next, in whole milliseconds.
        #[serde(with = "millis")]
        span: Duration,
        /// The ticks are this point in time and every `span` before and after it.
        anchor: Timestamp,
    },
}

impl Cadence {
    /// A fixed pace.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if `span` is not 1 s to 366 days, in whole milliseconds.
    pub fn every(span: impl IntoDuration, anchor: Timestamp) -> Result<Self> {
        let span = span.into_duration().map_err(|error| Error::new(error.kind(), "every", error.message()))?;
        let is_whole = span.as_micros().is_multiple_of(1000);
        if !(SHORTEST..=LONGEST).contains(&span) || !is_whole {
            return Err(Error::invalid("every", format_args!("{span:?}"), "1s to 366d, in whole milliseconds"));
        }
        Ok(Self::Every { span, anchor: Timestamp::from_micros(anchor.as_millis().saturating_mul(1000)) })
    }

    /// The tick of a fixed pace that comes after `at`; `None` at the end of time.
    pub fn paced(span: Duration, anchor: Timestamp, at: Timestamp) -> Option<Timestamp> {
        let span = i128::try_from(span.as_micros()).ok().filter(|span| *span >= MICROS)?;
        let anchor = i128::from(anchor.as_micros());
        let count = (i128::from(at.as_micros()) - anchor).div_euclid(span) + 1;
        i64::try_from(anchor + count * span).ok().map(Timestamp::from_micros)
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { expression, zone } => write!(f, "{expression} ({zone})"),
            Self::Every { span, .. } => write!(f, "every {span:?}"),
        }
    }
}

/// A span of time in milliseconds.
pub(super) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::periodic) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(crate::time::millis(*span))
    }

    pub(in crate::periodic) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
