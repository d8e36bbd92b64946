use std::fmt;
use std::str::FromStr;

use crate::Error;

/// How urgent a task is among those that wait in the same queue.
///
/// Workers take the most urgent task that waits, whatever came first; of the same priority, the
/// oldest. So that a stream of urgent tasks does not hold up all others for ever, a few places are kept
/// for those, unless the worker is told to be strict; see [`reserve`](crate::policy::reserve).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// After everything else.
    Low,
    /// Where nothing is said.
    #[default]
    Normal,
    /// Before what is normal.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// Every priority, the most urgent last.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|priority| priority.as_str() == text);
        found.ok_or_else(|| Error::invalid("priority", format_args!("{text:?}"), "low, normal, high, critical"))
    }
}
