//! Wakes those who wait for messages: one blocked read for all queues that somebody in this process
//! waits for.
//!
//! A token on the bell is a hint: losing one costs at most [`LONGEST_WAIT`], never a message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use tokio::sync::oneshot;
use tokio::time::sleep;
use windlass_core::QueueName;

use crate::connection::Link;
use crate::error::Failed;
use crate::keys::{Keys, Part};
use crate::scripts::RING;
use crate::thread::Spawner;

/// Longest wait without looking. The scripts ring for what is due sooner than this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long the server holds a read.
const BLOCK: Duration = Duration::from_secs(2);
/// A queue stays in the blocked read this long after its last waiter: as a rule it comes back at
/// once, and changing a read that is blocked costs a command.
const LINGER: Duration = Duration::from_secs(3);
/// Pause after a bell that cannot be read.
const BROKEN: Duration = Duration::from_millis(500);
/// How often a blocked read is ended before its own end is awaited instead.
const NUDGES: usize = 50;

#[derive(Debug)]
pub(crate) struct Bell {
    prefix: String,
    spawner: Spawner,
    /// For the blocked read alone.
    line: Link,
    commands: Link,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiters: Vec<Waiter>,
    tickets: u64,
    /// When there will be something, as far as the last fetch of a queue told.
    expected: HashMap<QueueName, Instant>,
    /// Queues without a waiter, and since when.
    lingering: Vec<(QueueName, Instant)>,
    /// What the read covers that is running or about to.
    covered: Vec<QueueName>,
    running: bool,
    /// The number of the read.
    round: u64,
    /// The read that was ended last.
    nudged: u64,
    ended: bool,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    queue: QueueName,
    wake: oneshot::Sender<()>,
}

impl Bell {
    pub(crate) fn new(prefix: String, spawner: Spawner, line: Link, commands: Link) -> Self {
        Self { prefix, spawner, line, commands, state: Mutex::default() }
    }

    /// Notes when there will be something in a queue, if nobody rings before.
    pub(crate) fn expect(&self, queue: &QueueName, after: Option<Duration>) {
        let mut state = self.state();
        match after {
            Some(after) => state.expected.insert(queue.clone(), Instant::now() + after),
            None => state.expected.remove(queue),
        };
    }

    /// Waits for the bell of a queue, at most `span`.
    pub(crate) async fn wait(self: &Arc<Self>, queue: &QueueName, span: Duration) {
        let Some((mut waiting, span)) = self.enter(queue, span) else { return };
        tokio::select! {
            // First, because there is no clock any more after the end.
            biased;
            _ = &mut waiting.rung => waiting.told = true,
            () = self.spawner.sleep(span) => {}
        }
    }

    /// Wakes everybody, for good.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.waiters.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a waiter; answers it and how long it is to wait, or `None` if it need not wait.
    fn enter(self: &Arc<Self>, queue: &QueueName, span: Duration) -> Option<(Waiting<'_>, Duration)> {
        let mut state = self.state();
        let expected = state.expected.get(queue).map(|at| at.saturating_duration_since(Instant::now()));
        let span = expected.map_or(span, |expected| expected.min(span)).min(LONGEST_WAIT);
        if span.is_zero() || state.ended {
            return None;
        }
        let (wake, rung) = oneshot::channel();
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiters.push(Waiter { ticket, queue: queue.clone(), wake });
        if !state.running {
            state.running = true;
            self.spawner.detach(Arc::clone(self).listen());
        } else if !state.covered.is_empty() && !state.covered.contains(queue) && state.nudged != state.round {
            state.nudged = state.round;
            self.spawner.detach(Arc::clone(self).nudge(state.round));
        }
        Some((Waiting { bell: self, queue: queue.clone(), ticket, rung, told: false }, span))
    }

    /// Reads bells for as long as anybody waits.
    async fn listen(self: Arc<Self>) {
        loop {
            // Lets everybody who is about to wait come in first.
            tokio::task::yield_now().await;
            let Some(queues) = self.begin() else { return };
            match self.read(&queues).await {
                Ok(Some(queue)) => self.ring(&queue).await,
                Ok(None) => {}
                Err(failed) => {
                    tracing::debug!(target: "windlass::broker::redis", "the bell cannot be read: {}", failed.error);
                    sleep(BROKEN).await;
                }
            }
        }
    }

    /// The queues of the next read, or `None` if nobody waits.
    fn begin(&self) -> Option<Vec<QueueName>> {
        let mut state = self.state();
        state.round += 1;
        state.covered.clear();
        if state.waiters.is_empty() {
            state.running = false;
            return None;
        }
        state.lingering.retain(|(_, since)| since.elapsed() < LINGER);
        let State { waiters, lingering, covered, .. } = &mut *state;
        let waited_for = waiters.iter().map(|waiter| &waiter.queue);
        for queue in waited_for.chain(lingering.iter().map(|(queue, _)| queue)) {
            if !covered.contains(queue) {
                covered.push(queue.clone());
            }
        }
        Some(covered.clone())
    }

    async fn read(&self, queues: &[QueueName]) -> Result<Option<QueueName>, Failed> {
        let mut command = redis::cmd("BLPOP");
        for queue in queues {
            command.arg(Keys::new(&self.prefix, queue).part(Part::Bell));
        }
        command.arg(BLOCK.as_secs());
        let Value::Array(found) = self.line.block("wait", &command, BLOCK).await? else { return Ok(None) };
        let Some(Value::BulkString(key)) = found.first() else { return Ok(None) };
        Ok(queues.iter().find(|queue| Keys::new(&self.prefix, queue).part(Part::Bell).as_bytes() == key).cloned())
    }

    /// Wakes one waiter of the queue; puts the token back if there is none.
    async fn ring(&self, queue: &QueueName) {
        if self.wake(queue) {
            return;
        }
        let call = RING.call(&mut Keys::new(&self.prefix, queue), 0, 0);
        if let Err(failed) = self.commands.run(&call).await {
            tracing::debug!(target: "windlass::broker::redis", "a token of the bell is lost: {}", failed.error);
        }
    }

    fn wake(&self, queue: &QueueName) -> bool {
        let mut state = self.state();
        while let Some(at) = state.waiters.iter().position(|waiter| waiter.queue == *queue) {
            if state.waiters.remove(at).wake.send(()).is_ok() {
                return true;
            }
        }
        state.lingering.retain(|(left, _)| left != queue);
        false
    }

    /// Ends the blocked read, so that the next one covers everybody.
    async fn nudge(self: Arc<Self>, round: u64) {
        for _ in 0..NUDGES {
            if self.state().round != round {
                return;
            }
            if let Some(id) = self.line.id()
                && !matches!(self.commands.send("wait", &unblock(id)).await, Ok(Value::Int(0)))
            {
                return;
            }
            // The read has not arrived at the server yet.
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn unblock(id: i64) -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("UNBLOCK").arg(id);
    command
}

/// Somebody who waits; leaves when it is dropped.
struct Waiting<'a> {
    bell: &'a Arc<Bell>,
    queue: QueueName,
    ticket: u64,
    rung: oneshot::Receiver<()>,
    told: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let mut state = self.bell.state();
        if let Some(at) = state.waiters.iter().position(|waiter| waiter.ticket == self.ticket) {
            state.waiters.remove(at);
            state.lingering.retain(|(left, _)| *left != self.queue);
            state.lingering.push((self.queue.clone(), Instant::now()));
            return;
        }
        drop(state);
        // It was woken and does not know: somebody else must.
        if self.rung.try_recv().is_ok() {
            let (bell, queue) = (Arc::clone(self.bell), self.queue.clone());
            self.bell.spawner.detach(async move { bell.ring(&queue).await });
        }
    }
}
