use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, IntoDuration, Result};

/// How long something is kept. Ordered: `None` < `For(…)` < `Forever`.
///
/// As text: `none`, `forever`, or milliseconds; settings also take `"1h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Retention {
    /// Not stored at all; who waits at that moment is still told.
    None,
    /// Stored for this long.
    For(Duration),
    /// Stored until somebody removes it.
    Forever,
}

impl Retention {
    /// From a setting: `none`, `forever`, or a span of time such as `1h`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] that says what is allowed.
    pub fn from_setting(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "forever" => Ok(Self::Forever),
            span => match span.into_duration() {
                Ok(Duration::ZERO) => Ok(Self::None),
                Ok(span) => Ok(Self::For(span)),
                Err(_) => {
                    Err(Error::invalid("retention", format_args!("{text:?}"), "none, forever, or a time such as 1h"))
                }
            },
        }
    }
}

impl From<Duration> for Retention {
    fn from(span: Duration) -> Self {
        if span.is_zero() { Self::None } else { Self::For(span) }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Forever => f.write_str("forever"),
            // Zero would mean "none".
            Self::For(span) => write!(f, "{}", crate::time::millis(*span).max(1)),
        }
    }
}

impl FromStr for Retention {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse::<u64>() {
            Ok(0) => Ok(Self::None),
            Ok(millis) => Ok(Self::For(Duration::from_millis(millis))),
            Err(_) => Self::from_setting(text),
        }
    }
}
