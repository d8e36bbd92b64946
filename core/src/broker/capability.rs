use std::time::Duration;

/// What a broker can do, as data. What it cannot, its methods answer with `Unsupported`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The name of the store, for texts.
    pub name: &'static str,
    /// Messages can be delayed.
    pub delay: bool,
    /// Delays are rounded up to a multiple of this.
    pub delay_step: Duration,
    /// Of what waits in a queue, the most urgent is delivered first.
    pub priority: bool,
    /// Claims have leases of their own that can be extended; without it, a claim lasts as long as
    /// the connection.
    pub lease: bool,
    /// The store takes back what is held longer than this, however alive its owner is; `None` if it
    /// never does.
    pub max_claim: Option<Duration>,
    /// Old tokens are refused by the server.
    pub fencing: bool,
    /// A message that waits can be removed.
    pub cancel: bool,
    /// A message can be found by its id.
    pub locate: bool,
    /// Dead letters can be listed and replayed.
    pub dead_letters: bool,
    /// A second message with the id of one that is waiting, claimed or remembered is refused.
    pub idempotent: bool,
    /// A queue can be limited; without it, [`Message::limit`](crate::Message::limit) is not looked at.
    pub limit: bool,
    /// A full queue can drop its oldest message.
    pub drop_oldest: bool,
    /// Largest payload in bytes.
    pub max_payload: usize,
}

impl Capabilities {
    /// Everything that windlass knows of; adapters switch off what they cannot.
    pub const fn all(name: &'static str) -> Self {
        Self {
            name,
            delay: true,
            delay_step: Duration::from_millis(1),
            priority: true,
            lease: true,
            max_claim: None,
            fencing: true,
            cancel: true,
            locate: true,
            dead_letters: true,
            idempotent: true,
            limit: true,
            drop_oldest: true,
            max_payload: crate::limits::PAYLOAD_BYTES_HARD,
        }
    }
}
