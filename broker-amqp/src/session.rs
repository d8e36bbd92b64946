//! Consuming one windlass queue: the channel, the consumers of its levels, and what they have brought.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_core::{Priority, QueueName, Result};

use crate::broker::Parts;
use crate::buffer::Buffer;
use crate::config::QueueType;
use crate::envelope::Letter;
use crate::error::{INTERNAL_ERROR, code};
use crate::level::Slot;
use crate::state::{Arriving, Held, Open, State};
use crate::tags::Tags;

/// One queue as this broker consumes it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) queue: QueueName,
    pub(crate) parts: Arc<Parts>,
    state: Mutex<State>,
    /// One at a time begins or ends consumers.
    pub(crate) opening: tokio::sync::Mutex<()>,
    pub(crate) arrived: Notify,
}

impl Session {
    pub(crate) fn new(queue: QueueName, parts: Arc<Parts>) -> Self {
        let opening = tokio::sync::Mutex::default();
        Self { queue, parts, state: Mutex::default(), opening, arrived: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Consumes every level with room for `wanted` messages.
    pub(crate) async fn ensure(self: &Arc<Self>, wanted: u16) -> Result<()> {
        let _turn = self.opening.lock().await;
        if self.lock().is_ready(wanted) {
            return Ok(());
        }
        let was_complete = self.lock().is_complete();
        let open = self.open().await?;
        let prefetch = {
            let state = self.lock();
            if state.consumers.iter().all(Option::is_none) { wanted } else { wanted.max(state.prefetch) }
        };
        if self.lock().prefetch != prefetch {
            self.cancel(&open, |_| true).await?;
        }
        self.lock().prefetch = prefetch;
        let mut missing: Vec<Slot> = {
            let state = self.lock();
            Slot::ALL.into_iter().rev().filter(|slot| !state.is_consumed(*slot)).collect()
        };
        // The server keeps for a minute what it has handed out on a channel that waits for a queue without
        // a leader. So the level that most is waiting at comes last.
        missing.sort_by_key(|slot| *slot == Slot::Level(Priority::Normal));
        let qos = open.channel.basic_qos(prefetch, BasicQosOptions::default());
        self.asked(&open, self.parts.consume.ask("fetch", &open.live, qos).await)?;
        for slot in missing {
            self.consume(&open, slot).await?;
        }
        if !was_complete {
            self.lock().arriving = Some(Arriving::begin());
        }
        Ok(())
    }

    async fn open(self: &Arc<Self>) -> Result<Open> {
        let open = self.lock().open.clone();
        if let Some(open) = open {
            if open.channel.status().connected() {
                return Ok(open);
            }
            self.fail(open.epoch, &"the channel is closed");
        }
        let link = &self.parts.consume;
        let live = link.live().await?;
        self.parts.topology.slots(link, &live, &self.queue, &Slot::ALL).await?;
        let channel = link.channel("fetch", &live).await?;
        let mut state = self.lock();
        state.epochs += 1;
        state.heard = Some(Instant::now());
        let open = Open { epoch: state.epochs, live, channel };
        state.open = Some(open.clone());
        Ok(open)
    }

    async fn consume(self: &Arc<Self>, open: &Open, slot: Slot) -> Result<()> {
        let name = self.parts.topology.names.slot(&self.queue, slot);
        let tag = format!("windlass-{:016x}", fastrand::u64(..));
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let started = open.channel.basic_consume(name.into(), tag.into(), options, arguments);
        let link = &self.parts.consume;
        let answer = link.patiently(&open.live, started).await;
        let is_absent = match &answer {
            None => link.is_answering(&open.live).await,
            Some(answer) => answer.as_ref().is_err_and(|cause| code(cause) == Some(INTERNAL_ERROR)),
        };
        if is_absent {
            self.leave_out(slot);
        }
        if answer.is_none() {
            // The server goes on to wait for the queue, on this channel.
            link.give_up(open.live.generation, &"a queue cannot be consumed");
        }
        let consumer = self.asked(open, link.named("fetch", answer))?;
        self.lock().consumers[slot.index()] = Some(consumer.tag());
        self.parts.spawner.detach(Arc::clone(self).pumping(open.clone(), slot, consumer));
        Ok(())
    }

    /// A request on the channel that failed is the end of the channel.
    fn asked<T>(&self, open: &Open, answer: Result<T>) -> Result<T> {
        answer.inspect_err(|error| self.fail(open.epoch, error))
    }

    /// The pump as a type with a name: it begins to consume, which starts pumps.
    fn pumping(
        self: Arc<Self>,
        open: Open,
        slot: Slot,
        consumer: Consumer,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.pump(open, slot, consumer))
    }

    async fn pump(self: Arc<Self>, open: Open, slot: Slot, mut consumer: Consumer) {
        while let Some(delivery) = consumer.next().await {
            match delivery {
                Ok(delivery) => self.push(open.epoch, slot, delivery),
                Err(error) => return self.fail(open.epoch, &error),
            }
        }
        let ended_by_server = self.lock().is_consumer(open.epoch, slot, &consumer.tag());
        if ended_by_server {
            self.recover(open, slot).await;
        }
    }

    /// The server has ended a consumer: somebody has deleted its queue, or the channel is going down.
    async fn recover(self: Arc<Self>, open: Open, slot: Slot) {
        self.lock().consumers[slot.index()] = None;
        if !open.channel.status().connected() {
            return self.fail(open.epoch, &"the channel was closed");
        }
        let name = self.parts.topology.names.slot(&self.queue, slot);
        let declared = self.parts.topology.slots(&self.parts.consume, &open.live, &self.queue, &[slot]).await;
        match declared {
            Ok(()) => {
                tracing::error!(target: "windlass::broker::amqp", queue = self.queue.as_str(),
                    "the AMQP queue {name} was deleted, with the messages in it; it is declared again");
                // A channel that has lost a queue does not always hear of the next one of that name.
                self.fail(open.epoch, &"one of its queues was deleted");
                let _ = self.ensure(1).await;
            }
            Err(error) => self.fail(open.epoch, &error),
        }
    }

    fn push(self: &Arc<Self>, epoch: u64, slot: Slot, delivery: Delivery) {
        let tag = delivery.delivery_tag;
        let letter = Letter::read(delivery);
        let level = match slot {
            Slot::Level(level) => level,
            Slot::Front => letter.stamp.level.unwrap_or_default(),
        };
        let (token, progress) = (letter.token(), letter.progress());
        let uncounted = letter.redelivered && self.parts.queue_type == QueueType::Classic;
        let held = Held { letter, tag, token, progress, level, slot, since: Instant::now() };
        let mut state = self.lock();
        if !state.is_open(epoch) {
            return;
        }
        state.heard = Some(Instant::now());
        state.tags.insert(tag, slot);
        if slot == Slot::Front {
            state.fronted = state.fronted.saturating_sub(1);
        }
        state.arriving.iter_mut().for_each(Arriving::came);
        if uncounted {
            drop(state);
            self.parts.spawner.detach(Arc::clone(self).recount(epoch, held));
            return;
        }
        state.buffer.push(held);
        self.sweep(&mut state);
        drop(state);
        self.arrived.notify_one();
    }

    /// Ends consumers; what they have brought stays ours.
    pub(crate) async fn cancel(&self, open: &Open, which: impl Fn(Slot) -> bool) -> Result<()> {
        for slot in Slot::ALL.into_iter().filter(|slot| which(*slot)) {
            let tag = {
                let mut state = self.lock();
                if !state.is_open(open.epoch) {
                    return Ok(());
                }
                state.consumers[slot.index()].take()
            };
            if let Some(tag) = tag {
                let cancelled = open.channel.basic_cancel(tag, BasicCancelOptions::default());
                self.asked(open, self.parts.consume.ask("fetch", &open.live, cancelled).await)?;
            }
        }
        Ok(())
    }

    /// Tells the server that these are done; `false` if the channel is gone and it will not know.
    pub(crate) async fn acknowledge(&self, epoch: u64, tags: Vec<u64>) -> bool {
        let (open, acks) = {
            let mut state = self.lock();
            let Some(open) = state.open.clone().filter(|open| open.epoch == epoch) else { return tags.is_empty() };
            (open, state.tags.settle(tags))
        };
        let send = |(tag, multiple)| open.channel.basic_ack(tag, BasicAckOptions { multiple });
        let sent = try_join_all(acks.into_iter().map(send));
        match self.parts.consume.ask("settle", &open.live, sent).await {
            Ok(_) => true,
            Err(error) => {
                self.fail(epoch, &error);
                false
            }
        }
    }

    /// The end of a channel: what it has delivered belongs to the server again.
    pub(crate) fn fail(&self, epoch: u64, why: &dyn std::fmt::Display) {
        let mut state = self.lock();
        if !state.is_open(epoch) {
            return;
        }
        let open = state.open.take();
        state.buffer = Buffer::default();
        state.tags = Tags::default();
        state.consumers = [const { None }; 5];
        state.fronted = 0;
        state.arriving = None;
        let lost = std::mem::take(&mut state.claims);
        drop(state);
        self.arrived.notify_waiters();
        if !lost.is_empty() {
            tracing::warn!(target: "windlass::broker::amqp", queue = self.queue.as_str(), claims = lost.len(),
                "the claims of a channel are lost, RabbitMQ hands these tasks out again: {why}");
        } else {
            tracing::debug!(target: "windlass::broker::amqp", queue = self.queue.as_str(), "channel ended: {why}");
        }
        if let Some(open) = open {
            let link = self.parts.consume.clone();
            self.parts.spawner.detach(async move { link.close_channel(&open.live, &open.channel).await });
        }
    }

    /// Stops consuming and gives back what was not fetched.
    pub(crate) async fn close(self: &Arc<Self>) {
        let Some(open) = self.lock().open.clone() else { return };
        let _ = self.cancel(&open, |_| true).await;
        let unfetched = self.lock().buffer.drain();
        if !unfetched.is_empty() {
            self.give_back(unfetched).await;
        }
    }
}
