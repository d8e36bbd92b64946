//! What becomes of claimed messages.
//!
//! What goes on to another queue is copied there first, and acknowledged only when the copy is
//! confirmed: a crash in between leaves two, never none.

use std::sync::Arc;

use windlass_core::{
    Disposition, Error, LeaseStatus, QueueName, Receipt, Result, SettleOutcome, Settlement, Timestamp,
};

use crate::broker::Shared;
use crate::delay;
use crate::envelope::now;
use crate::level::Slot;
use crate::route::{Outgoing, Target};
use crate::session::Session;
use crate::state::{Claim, Held, State};
use crate::trim;

pub(crate) async fn settle(shared: &Arc<Shared>, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
    let mut outcomes = vec![SettleOutcome::Lost; settlements.len()];
    let mut running = Vec::new();
    for (queue, places) in by_queue(settlements) {
        let session = shared.session(queue);
        let part: Vec<Settlement> = places.iter().map(|place| settlements[*place].clone()).collect();
        running.push((queue, places, shared.spawner.start(async move { Batch::default().run(&session, part).await })));
    }
    let mut first = None;
    for (queue, places, answer) in running {
        match answer.await? {
            Ok(answers) => {
                let mut buried = 0;
                for (place, answer) in places.into_iter().zip(answers) {
                    outcomes[place] = answer;
                    buried += u64::from(settlements[place].disposition == Disposition::DeadLetter);
                }
                if buried > 0 {
                    trim::added(shared, queue, buried);
                }
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(outcomes), Err)
}

/// The places of the settlements of each queue, in their order.
fn by_queue(settlements: &[Settlement]) -> Vec<(&QueueName, Vec<usize>)> {
    let mut queues: Vec<(&QueueName, Vec<usize>)> = Vec::new();
    for (place, settlement) in settlements.iter().enumerate() {
        let queue = &settlement.receipt.queue;
        match queues.iter_mut().find(|(other, _)| *other == queue) {
            Some((_, places)) => places.push(place),
            None => queues.push((queue, vec![place])),
        }
    }
    queues
}

/// What one call does with the claims of one queue.
#[derive(Debug, Default)]
struct Batch {
    outcomes: Vec<SettleOutcome>,
    /// Done as soon as the server knows.
    done: Vec<(usize, Claim, u64)>,
    /// Waiting for the confirm of a copy.
    copied: Vec<(usize, Claim, u64)>,
    copies: Vec<Outgoing>,
    released: Vec<Held>,
    epoch: Option<u64>,
}

impl Batch {
    async fn run(mut self, session: &Arc<Session>, settlements: Vec<Settlement>) -> Result<Vec<SettleOutcome>> {
        self.plan(session, settlements);
        let Some(epoch) = self.epoch else { return Ok(self.outcomes) };
        let tags = self.done.iter().map(|(_, _, tag)| *tag).collect();
        let told = session.acknowledge(epoch, tags).await;
        let mut finished = self.conclude(told);
        if self.copies.is_empty() {
            return Ok(self.outcomes);
        }
        let sent = session.parts.sender.send(&self.copies, session.parts.soon()).await;
        let mut failed: Option<Error> = None;
        for ((place, claim, tag), sent) in std::mem::take(&mut self.copied).into_iter().zip(sent) {
            match sent {
                Ok(()) => self.done.push((place, claim, tag)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let gone = |state: &mut State, claim: &Claim| state.claims.remove(claim);
        {
            let mut state = session.lock();
            self.done.retain(|(_, claim, _)| gone(&mut state, claim).is_some());
        }
        let tags = self.done.iter().map(|(_, _, tag)| *tag).collect();
        let told = session.acknowledge(epoch, tags).await;
        finished.extend(self.conclude(told));
        match failed {
            None => Ok(self.outcomes),
            Some(error) => {
                // The call is repeated as a whole; what it has done already must not look lost then.
                session.lock().finish(finished);
                Err(refused(error))
            }
        }
    }

    fn plan(&mut self, session: &Arc<Session>, settlements: Vec<Settlement>) {
        let mut state = session.lock();
        self.outcomes = vec![SettleOutcome::Lost; settlements.len()];
        if !state.is_alive() {
            return;
        }
        self.epoch = state.epoch();
        for (place, settlement) in settlements.into_iter().enumerate() {
            let claim = (settlement.receipt.id.clone(), settlement.receipt.token);
            let Some(held) = state.claims.get(&claim) else {
                if state.is_finished(&claim) {
                    self.outcomes[place] = SettleOutcome::Settled;
                }
                continue;
            };
            let here = settlement.disposition == Disposition::Release && settlement.progress == held.progress;
            if here || settlement.disposition == Disposition::Acknowledge {
                let Some(held) = state.claims.remove(&claim) else { continue };
                if here {
                    self.outcomes[place] = SettleOutcome::Settled;
                    self.released.push(held.again());
                } else {
                    self.done.push((place, claim, held.tag));
                }
            } else if !self.copied.iter().any(|(_, other, _)| *other == claim) {
                self.copied.push((place, claim, held.tag));
                self.copies.push(copy(held, &session.queue, settlement));
            }
        }
        if !self.released.is_empty() {
            state.buffer.push_heads(std::mem::take(&mut self.released));
            session.sweep(&mut state);
            session.arrived.notify_one();
        }
    }

    fn conclude(&mut self, told: bool) -> Vec<Claim> {
        let done = std::mem::take(&mut self.done);
        if !told {
            return Vec::new();
        }
        done.iter().for_each(|(place, _, _)| self.outcomes[*place] = SettleOutcome::Settled);
        done.into_iter().map(|(_, claim, _)| claim).collect()
    }
}

fn copy(held: &Held, queue: &QueueName, settlement: Settlement) -> Outgoing {
    let queue = queue.clone();
    match settlement.disposition {
        Disposition::Requeue { after } => {
            held.copy(Target::level(&queue, held.level, delay::seconds(after)), settlement.progress)
        }
        Disposition::DeadLetter => {
            let died = Timestamp::from_micros(i64::try_from(now()).unwrap_or(i64::MAX));
            let reason = settlement.reason.unwrap_or_default();
            held.last_copy(Target::Dead(queue), settlement.progress, (reason, died))
        }
        Disposition::Release | Disposition::Acknowledge => {
            held.copy(Target::Slot(queue, Slot::Front), settlement.progress)
        }
    }
}

/// A refused copy leaves the claim as it is, so settling can be tried again.
fn refused(error: Error) -> Error {
    Error::new(error.kind(), "settle", error.message().to_owned()).retryable(error.is_retryable()).with_source(error)
}

/// A claim lasts as long as the channel that it came from; asking the server would tell no more.
pub(crate) fn extend(shared: &Shared, receipts: &[Receipt]) -> Vec<LeaseStatus> {
    let held = |receipt: &Receipt| {
        let session = shared.session(&receipt.queue);
        let state = session.lock();
        state.is_alive() && state.claims.contains_key(&(receipt.id.clone(), receipt.token))
    };
    receipts.iter().map(|receipt| if held(receipt) { LeaseStatus::Held } else { LeaseStatus::Lost }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windlass_core::{Broker, Delivery, FetchRequest, Progress, State};
    use windlass_testing::conformance::eventually;
    use windlass_testing::fixture;
    use windlass_testing::servers::{Fault, FaultProxy, RabbitServer};

    use super::*;
    use crate::{AmqpBroker, AmqpBrokerConfig};

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn fetch(broker: &AmqpBroker, queue: &QueueName, count: usize) -> Vec<Delivery> {
        let request = FetchRequest::new(queue.clone(), count, PATIENCE);
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(eventually("a message comes", PATIENCE, || async { broker.fetch(&request).await.ok() }).await);
        }
        all
    }

    #[tokio::test]
    async fn fault_83_a_crash_between_copy_and_acknowledgement_leaves_two_copies() {
        let server = RabbitServer::start();
        let proxy = FaultProxy::start(server.port());
        let config = AmqpBrokerConfig::new(server.url());
        let (direct, behind) =
            (config.check().unwrap(), AmqpBrokerConfig::new(server.url_at(proxy.port())).check().unwrap());
        let broker = AmqpBroker::open_at(config, direct, behind).unwrap();
        let queue = fixture::queue();
        let message = fixture::message(&queue, "once");
        broker.publish(std::slice::from_ref(&message)).await.unwrap();
        let held = fetch(&broker, &queue, 1).await;
        // The copy goes its way, the acknowledgement does not arrive.
        proxy.set(Fault::Blackhole);
        let settlement = Settlement {
            receipt: held[0].receipt.clone(),
            disposition: Disposition::Requeue { after: Duration::ZERO },
            progress: Progress { failures: 1, ..held[0].progress },
            state: State::Retrying,
            remember: None,
            reason: None,
        };
        assert_eq!(broker.settle(&[settlement]).await.unwrap(), [SettleOutcome::Settled]);
        // What was held back must go with its connection, not arrive late.
        proxy.set(Fault::Refuse);
        eventually("the connections are gone", PATIENCE, || async { (proxy.open() == 0).then_some(()) }).await;
        proxy.set(Fault::Pass);
        let came = fetch(&broker, &queue, 2).await;
        assert!(came.iter().all(|delivery| delivery.receipt.id == message.id));
        let copy = came.iter().find(|delivery| delivery.progress.failures == 1).expect("the copy is there");
        let original = came.iter().find(|delivery| delivery.progress.losses == 1).expect("so is the original");
        assert!(copy.receipt.token > original.receipt.token, "the newer one wins at the backend");
    }
}
