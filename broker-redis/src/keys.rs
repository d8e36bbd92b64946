//! The only file that spells a key.

use windlass_core::{QueueName, TaskId};

/// The keys that every queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Ids of normal priority that are due, the next one first.
    Ready,
    /// The same, of critical ones.
    Critical,
    /// The same, of high priority.
    High,
    /// The same, of low priority.
    Low,
    /// Id to the letter of its priority, where that is not normal.
    Level,
    /// Id to message.
    Body,
    /// Ids that wait for their time, by milliseconds.
    Sched,
    /// Tokens of claims, by the millisecond they run out.
    Lease,
    /// Claimed ids whose lease is not that of their claim, by the millisecond it runs out.
    Solo,
    /// Token to its ids.
    Claims,
    /// Token to how many of its ids are not settled yet.
    Left,
    /// Claimed id to token.
    Owner,
    /// Id to progress, where there is any.
    Meta,
    /// The last token.
    Seq,
    /// Wakes one waiting worker for each entry.
    Bell,
    /// Tokens and ids of claims that were lost, by the millisecond they were.
    Lost,
    /// Ids of dead letters, by the millisecond of their death.
    Dead,
    /// Id of a dead letter to message.
    DeadBody,
    /// Id of a dead letter to progress and reason.
    DeadInfo,
}

impl Part {
    pub(crate) const ALL: [Self; 19] = [
        Self::Ready,
        Self::Critical,
        Self::High,
        Self::Low,
        Self::Level,
        Self::Body,
        Self::Sched,
        Self::Lease,
        Self::Solo,
        Self::Claims,
        Self::Left,
        Self::Owner,
        Self::Meta,
        Self::Seq,
        Self::Bell,
        Self::Lost,
        Self::Dead,
        Self::DeadBody,
        Self::DeadInfo,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Critical => "critical",
            Self::High => "high",
            Self::Low => "low",
            Self::Level => "level",
            Self::Body => "body",
            Self::Sched => "sched",
            Self::Lease => "lease",
            Self::Solo => "solo",
            Self::Claims => "claims",
            Self::Left => "left",
            Self::Owner => "owner",
            Self::Meta => "meta",
            Self::Seq => "seq",
            Self::Bell => "bell",
            Self::Lost => "lost",
            Self::Dead => "dead",
            Self::DeadBody => "deadbody",
            Self::DeadInfo => "deadinfo",
        }
    }

    /// What Redis calls the type of this key.
    pub(crate) const fn redis_type(self) -> &'static str {
        match self {
            Self::Ready | Self::Critical | Self::High | Self::Low | Self::Bell => "list",
            Self::Sched | Self::Lease | Self::Solo | Self::Lost | Self::Dead => "zset",
            Self::Seq => "string",
            Self::Level | Self::Body | Self::Claims | Self::Left | Self::Owner | Self::Meta => "hash",
            Self::DeadBody | Self::DeadInfo => "hash",
        }
    }
}

/// Spells the keys of one queue, one after the other, in the same buffer.
///
/// `{queue}` is a hash tag: in a cluster, all keys of a queue live on the same node.
#[derive(Debug)]
pub(crate) struct Keys {
    buffer: String,
    stem: usize,
}

impl Keys {
    pub(crate) fn new(prefix: &str, queue: &QueueName) -> Self {
        let mut buffer = String::with_capacity(prefix.len() + queue.as_str().len() + 48);
        for piece in [prefix, ":{", queue.as_str(), "}:"] {
            buffer.push_str(piece);
        }
        Self { stem: buffer.len(), buffer }
    }

    pub(crate) fn part(&mut self, part: Part) -> &str {
        self.spell(&[part.name()])
    }

    /// Remembers the id of a finished task for a while.
    pub(crate) fn tomb(&mut self, id: &TaskId) -> &str {
        id.with_str(|id| {
            self.spell(&["tomb:", id]);
        });
        &self.buffer
    }

    /// Remembers the outcomes of the last publish calls of one client.
    pub(crate) fn publisher(&mut self, client: &str) -> &str {
        self.spell(&["pub:", client])
    }

    fn spell(&mut self, pieces: &[&str]) -> &str {
        self.buffer.truncate(self.stem);
        for piece in pieces {
            self.buffer.push_str(piece);
        }
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_queue_share_its_hash_tag() {
        let queue = QueueName::new("math").unwrap();
        let mut keys = Keys::new("windlass", &queue);
        for part in Part::ALL {
            assert_eq!(keys.part(part), format!("windlass:{{math}}:{}", part.name()));
        }
        assert_eq!(keys.tomb(&TaskId::new("invoice:1").unwrap()), "windlass:{math}:tomb:invoice:1");
        assert_eq!(keys.publisher("ab"), "windlass:{math}:pub:ab");
        assert_eq!(keys.part(Part::Ready), "windlass:{math}:ready");
    }
}
