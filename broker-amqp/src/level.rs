//! The AMQP queues that one windlass queue is made of.

use windlass_core::{Priority, QueueName};

/// One AMQP queue of a windlass queue that workers consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// What goes to the head of its level: given back, or recounted after a lost worker.
    Front,
    /// What waits at a level.
    Level(Priority),
}

impl Slot {
    /// All of them, the most urgent first.
    pub(crate) const ALL: [Self; 5] = [
        Self::Front,
        Self::Level(Priority::Critical),
        Self::Level(Priority::High),
        Self::Level(Priority::Normal),
        Self::Level(Priority::Low),
    ];

    /// Its place in [`Slot::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Front => 0,
            Self::Level(priority) => 1 + rank(priority),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Level(priority) => priority.as_str(),
        }
    }
}

/// 0 for the most urgent.
pub(crate) const fn rank(priority: Priority) -> usize {
    match priority {
        Priority::Critical => 0,
        Priority::High => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}

/// The names of a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Names(String);

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(prefix.to_owned())
    }

    /// The AMQP queue of one slot.
    pub(crate) fn slot(&self, queue: &QueueName, slot: Slot) -> String {
        format!("{}.{queue}.{}", self.0, slot.as_str())
    }

    /// The AMQP queue of the dead letters.
    pub(crate) fn dead(&self, queue: &QueueName) -> String {
        format!("{}.{queue}.dead", self.0)
    }

    /// The exchange that hands out what has become due.
    pub(crate) fn due(&self) -> String {
        format!("{}.due", self.0)
    }

    /// The exchange and the queue of one part of one rung of the ladder of delays.
    pub(crate) fn rung(&self, rung: u32, part: u32) -> String {
        if part == 0 { format!("{}.delay.{rung}", self.0) } else { format!("{}.delay.{rung}.{part}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_the_order_of_urgency() {
        for (index, slot) in Slot::ALL.into_iter().enumerate() {
            assert_eq!(slot.index(), index);
        }
        assert!(Priority::ALL.is_sorted_by(|low, high| rank(*low) > rank(*high)));
    }

    #[test]
    fn the_longest_names_fit() {
        let names = Names::new(&"p".repeat(64));
        let queue = QueueName::new("q".repeat(windlass_core::limits::NAME_BYTES)).unwrap();
        let longest = Slot::ALL.map(|slot| names.slot(&queue, slot).len()).into_iter().max().unwrap();
        let key = crate::delay::key(crate::delay::LONGEST, &names.slot(&queue, Slot::Level(Priority::Critical)));
        assert!(longest <= 255 && key.len() <= 255, "{longest} {}", key.len());
    }
}
