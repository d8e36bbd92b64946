use crate::Priority;

/// How many places of a fetch are kept for the messages of each priority, if so many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserve([usize; Priority::ALL.len()]);

impl Reserve {
    /// None: strictly the most urgent first.
    pub const NONE: Self = Self([0; Priority::ALL.len()]);

    /// With this many places for `priority`.
    #[must_use]
    pub const fn with(mut self, priority: Priority, places: usize) -> Self {
        self.0[priority as usize] = places;
        self
    }

    /// The places that are kept for `priority`.
    pub const fn of(self, priority: Priority) -> usize {
        self.0[priority as usize]
    }

    /// Whether nothing is kept for anybody.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}
