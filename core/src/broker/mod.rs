//! The store that messages wait in.

mod capability;
mod delivery;
mod limit;
mod reserve;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

pub use capability::Capabilities;
pub use delivery::{
    CancelOutcome, DeadLetter, DeadPage, Delivery, Disposition, LeaseStatus, Location, PublishOutcome, Receipt, Replay,
    SettleOutcome, Settlement, Undecodable,
};

pub use limit::{Overflow, QueueLimit};
pub use reserve::Reserve;

use crate::{Message, QueueName, Result, TaskId};

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// From which queue.
    pub queue: QueueName,
    /// At most this many, at least 1.
    pub max: usize,
    /// The claim is ours for this long unless it is extended.
    pub lease: Duration,
    /// How many of `max` are kept for messages of each priority, if so many wait.
    pub reserve: Reserve,
}

impl FetchRequest {
    /// At most `max` messages of a queue, strictly the most urgent first.
    pub fn new(queue: QueueName, max: usize, lease: Duration) -> Self {
        Self { queue, max, lease, reserve: Reserve::NONE }
    }
}

/// A store that messages wait in until a worker has finished them.
///
/// # Contract
/// Every adapter passes `windlass_testing::conformance::broker`. In short:
///
/// * **Accepted is kept.** After [`Broker::publish`] has answered accepted, the message is waiting,
///   claimed, or among the dead letters until it is acknowledged or cancelled.
/// * **A claim is never a pop.** [`Broker::fetch`] records the claim in the same server-side step
///   that takes the message; if its lease runs out, the next fetch of that queue offers the message
///   again, at the head, with one more loss in its [`Progress`](crate::Progress).
/// * **Old tokens are refused.** Each claim has a [`Token`](crate::Token) greater than those before
///   it, on every instance of the adapter, because backends refuse what has a smaller one; [`Broker::extend`] and [`Broker::settle`] with an older one change nothing and say so.
/// * **The broker's clock** decides about leases and due times.
/// * **The most urgent first**, by [`Message::priority`]; then first in, first out among messages that
///   were published without a delay, at first delivery. What [`FetchRequest::reserve`] keeps for the
///   less urgent is taken first, and delivered in the same order.
/// * **A full queue says so.** Where [`Message::limit`] is set, no more than that many messages wait in
///   its queue.
/// * `extend` makes progress although every thread of the caller's runtime is blocked, as long as
///   it is polled from another runtime.
///
/// # Cancel safety
/// Dropping the future of any method may leave it applied or not applied; nothing is lost, because
/// a claim that nobody knows of runs out and a publish can be repeated with the same id.
#[async_trait]
pub trait Broker: Debug + Send + Sync + 'static {
    /// What this broker can do.
    fn capabilities(&self) -> Capabilities;

    /// Puts messages into their queues; the answers are in the order of `messages`.
    ///
    /// Repeats by itself what failed on the way, within its own limit of time; with
    /// [`Capabilities::idempotent`], without ever enqueueing a message twice.
    ///
    /// # Errors
    /// `Unavailable` if nothing was applied, `Unknown` if that cannot be told, `Rejected` if the
    /// store refused the whole call.
    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>>;

    /// Waits until [`Broker::fetch`] may find something in `queue`, at most `wait`.
    ///
    /// Only a hint: it may return early for nothing, and what it missed is found by the next
    /// fetch. Claims nothing, so its future may be dropped at any time (a worker that shuts down
    /// does). Several workers that wait are not all woken by one message.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached; the caller fetches again after a pause.
    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()>;

    /// Claims due messages, oldest first; first makes due what was delayed, and takes back what
    /// lost workers held. Returns at once, with nothing if there is nothing.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached; the caller asks again.
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>>;

    /// Extends claims to `lease` from now; the answers are in the order of `receipts`. A broker without
    /// [`Capabilities::lease`] answers `Held` as long as the claim is held, and `Lost` after that.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached; the claims may still be held.
    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>>;

    /// Says what becomes of claimed messages; the answers are in the order of `settlements`.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; the call may be repeated, it changes nothing twice.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>>;

    /// Removes a message that has not been claimed.
    ///
    /// # Errors
    /// `Unsupported` without [`Capabilities::cancel`].
    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome>;

    /// Tells where a message is, or `None` if this broker does not hold it (any more).
    ///
    /// # Errors
    /// `Unsupported` without [`Capabilities::locate`].
    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>>;

    /// Lists dead letters, the oldest first, at most `max`; `cursor` is that of the page before.
    ///
    /// # Errors
    /// `Unsupported` without [`Capabilities::dead_letters`].
    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage>;

    /// Puts dead letters back into their queue with fresh counts, each as it was or as it was edited;
    /// answers how many there were.
    ///
    /// # Errors
    /// `Unsupported` without [`Capabilities::dead_letters`].
    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize>;

    /// Removes dead letters for good; answers how many there were.
    ///
    /// # Errors
    /// `Unsupported` without [`Capabilities::dead_letters`].
    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize>;

    /// What could be lost with the server as it is configured, one sentence each: no persistence,
    /// eviction, no replica. As far as is known from the last connection; nothing if nothing is.
    fn risks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Releases connections. Everything after it answers [`crate::ErrorKind::Closed`].
    async fn close(&self);
}
