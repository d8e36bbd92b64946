//! Putting messages in front of their queue: those that nobody fetches, and those of lost workers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::Progress;

use crate::connection::pause;
use crate::level::Slot;
use crate::route::{Outgoing, Target};
use crate::session::Session;
use crate::state::{Held, State};

/// What nobody fetches for this long is given back, so that another worker can have it.
const STALE: Duration = Duration::from_millis(100);
/// How long giving back may take; what does not succeed is kept and tried again.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// After this long without messages, and while none is held, everything is consumed anew.
const QUIET: Duration = Duration::from_secs(10);

impl Session {
    /// Looks whether it is quiet for so long that the server may have lost our consumers: RabbitMQ
    /// 3.10 says nothing when a quorum queue is deleted and declared again.
    pub(crate) fn listen_again(self: &Arc<Self>) {
        if self.lock().is_quiet(QUIET) {
            self.parts.spawner.detach(Arc::clone(self).consume_anew());
        }
    }

    async fn consume_anew(self: Arc<Self>) {
        let _turn = self.opening.lock().await;
        let open = {
            let state = self.lock();
            state.open.clone().filter(|_| state.is_quiet(QUIET))
        };
        let Some(open) = open else { return };
        // What is on its way arrives before the answer, and is kept.
        if self.cancel(&open, |_| true).await.is_ok() && self.lock().is_quiet(Duration::ZERO) {
            self.fail(open.epoch, &"nothing has come for a while, so it consumes anew");
        }
    }

    /// A classic queue does not count how often it has taken a message back, so this does: the copy
    /// says that one more worker was lost.
    pub(crate) async fn recount(self: Arc<Self>, epoch: u64, held: Held) {
        let progress = Progress { losses: held.progress.losses.saturating_add(1), ..held.progress };
        for attempt in 0.. {
            let copy = held.copy(Target::Slot(self.queue.clone(), Slot::Front), progress);
            let sent = self.parts.sender.send(&[copy], self.parts.soon()).await;
            match sent.into_iter().next() {
                Some(Err(error)) => {
                    tracing::debug!(target: "windlass::broker::amqp", "a lost task is not counted yet: {error}");
                    sleep(pause(attempt)).await;
                    if !self.lock().is_open(epoch) {
                        return;
                    }
                }
                _ => break,
            }
        }
        self.acknowledge(epoch, vec![held.tag]).await;
    }

    /// Looks after what is not fetched, while there is any.
    pub(crate) fn sweep(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.sweeping, true) {
            self.parts.spawner.detach(Arc::clone(self).sweeper());
        }
    }

    async fn sweeper(self: Arc<Self>) {
        loop {
            let oldest = {
                let mut state = self.lock();
                let oldest = state.buffer.oldest();
                if oldest.is_none() {
                    state.sweeping = false;
                    return;
                }
                oldest
            };
            if let Some(oldest) = oldest {
                sleep_until(oldest + STALE).await;
            }
            // Whoever was told of it may have gone away.
            self.arrived.notify_one();
            let stale = {
                let mut state = self.lock();
                if state.fetching > 0 || self.parts.sender.is_blocked() {
                    state.buffer.refresh();
                }
                state.buffer.take_stale(Instant::now() - STALE)
            };
            if !stale.is_empty() {
                self.give_back(stale).await;
            }
        }
    }

    /// Stops the levels that bring more than is fetched, and puts what they brought in front of their
    /// queues, where any worker can take it. A fetch waits until this is over.
    pub(crate) async fn give_back(self: &Arc<Self>, stale: Vec<Held>) {
        let _turn = self.opening.lock().await;
        let Some(open) = self.lock().open.clone() else { return };
        let slots: HashSet<Slot> = stale.iter().map(|held| held.slot).chain([Slot::Front]).collect();
        if self.cancel(&open, |slot| slots.contains(&slot)).await.is_err() {
            return;
        }
        let front = || Target::Slot(self.queue.clone(), Slot::Front);
        let copies: Vec<Outgoing> = stale.iter().map(|held| held.copy(front(), held.progress)).collect();
        let sent = self.parts.sender.send(&copies, Instant::now() + GIVE_BACK).await;
        let mut tags = Vec::with_capacity(stale.len());
        let mut kept = Vec::new();
        for (mut held, sent) in stale.into_iter().zip(sent) {
            if sent.is_ok() {
                tags.push(held.tag);
            } else {
                held.since = Instant::now();
                kept.push(held);
            }
        }
        let given = tags.len();
        self.acknowledge(open.epoch, tags).await;
        let mut state = self.lock();
        if state.is_open(open.epoch) {
            state.fronted += given;
            state.buffer.push_heads(kept);
            drop(state);
            self.arrived.notify_one();
        }
    }
}
