use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What happens to a message that finds its queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It is refused, and `enqueue` says so.
    #[default]
    Reject,
    /// It is taken, and the oldest of the least urgent that wait goes to the dead letters.
    DropOldest,
}

impl Overflow {
    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::DropOldest => "drop-oldest",
        }
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Overflow {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = [Self::Reject, Self::DropOldest].into_iter().find(|overflow| overflow.as_str() == text);
        found.ok_or_else(|| Error::invalid("overflow", format_args!("{text:?}"), "reject, drop-oldest"))
    }
}

/// How many messages may wait in a queue: those that are due and those that wait for their time; not
/// those that a worker has, nor dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimit {
    /// At most this many, at least 1.
    pub max: u64,
    /// What happens beyond.
    pub overflow: Overflow,
}
