//! Ending claims and extending them.

use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use windlass_core::{Disposition, LeaseStatus, QueueName, Receipt, Result, SettleOutcome, Settlement, Token, limits};

use crate::broker::Shared;
use crate::keys::Keys;
use crate::publish::millis;
use crate::scripts::{Call, EXTEND, SETTLE};

pub(crate) async fn settle(shared: &Arc<Shared>, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
    let mut running = Vec::new();
    for (queue, places) in by_queue(settlements, |settlement| &settlement.receipt) {
        for places in places.chunks(limits::BATCH_ITEMS) {
            let plan = Plan::new(settlements, places);
            let call = plan.write(shared, queue, settlements);
            running.push((plan, shared.run(queue, call)));
        }
    }
    let mut outcomes = vec![SettleOutcome::Lost; settlements.len()];
    for (plan, answer) in running {
        let characters = SETTLE.characters(answer.await?, plan.len())?;
        for (place, character) in plan.places().zip(characters) {
            if character == b'S' {
                outcomes[place] = SettleOutcome::Settled;
            }
        }
    }
    Ok(outcomes)
}

/// The places of the items of each queue, in their order.
fn by_queue<T>(items: &[T], receipt: impl Fn(&T) -> &Receipt) -> Vec<(&QueueName, Vec<usize>)> {
    let mut queues: Vec<(&QueueName, Vec<usize>)> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let queue = &receipt(item).queue;
        match queues.iter_mut().find(|(known, _)| *known == queue) {
            Some((_, places)) => places.push(place),
            None => queues.push((queue, vec![place])),
        }
    }
    queues
}

/// The places of the items of each claim.
fn by_token(places: &[usize], token: impl Fn(usize) -> Token) -> Vec<(Token, Vec<usize>)> {
    let mut tokens: Vec<(Token, Vec<usize>)> = Vec::new();
    for place in places {
        let claim = token(*place);
        match tokens.iter_mut().rev().find(|(known, _)| *known == claim) {
            Some((_, places)) => places.push(*place),
            None => tokens.push((claim, vec![*place])),
        }
    }
    tokens
}

/// The order in which a call names its settlements: plain acknowledgements by claim, then the rest.
struct Plan {
    groups: Vec<(Token, Vec<usize>)>,
    others: Vec<usize>,
}

impl Plan {
    fn new(settlements: &[Settlement], places: &[usize]) -> Self {
        let plain = |place: &usize| {
            let settlement = &settlements[*place];
            settlement.disposition == Disposition::Acknowledge && settlement.remember.is_none()
        };
        let (plain, others): (Vec<usize>, Vec<usize>) = places.iter().partition(|place| plain(place));
        Self { groups: by_token(&plain, |place| settlements[place].receipt.token), others }
    }

    fn len(&self) -> usize {
        self.groups.iter().map(|(_, places)| places.len()).sum::<usize>() + self.others.len()
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().flat_map(|(_, places)| places).chain(&self.others).copied()
    }

    fn write(&self, shared: &Shared, queue: &QueueName, settlements: &[Settlement]) -> Call {
        let others = || self.others.iter().map(|place| &settlements[*place]);
        let tombs = others().filter(|settlement| settlement.disposition == Disposition::Acknowledge);
        let more = |keys: &mut Keys, command: &mut Cmd| {
            for settlement in tombs.clone() {
                command.arg(keys.tomb(&settlement.receipt.id));
            }
        };
        let mut keys = Keys::new(&shared.config.prefix, queue);
        let arguments = 3 + 2 * self.groups.len() + 5 * self.len();
        let mut call = SETTLE.begin(&mut keys, tombs.clone().count(), more, arguments, 40 * self.len());
        let command = &mut call.command;
        command.arg(millis(shared.config.dead_ttl)).arg(shared.config.dead_max).arg(self.groups.len());
        for (token, places) in &self.groups {
            write_claim(command, *token, places, |place| &settlements[place].receipt);
        }
        for settlement in others() {
            write_settlement(command, settlement);
        }
        call
    }
}

fn write_claim<'a>(command: &mut Cmd, token: Token, places: &[usize], receipt: impl Fn(usize) -> &'a Receipt) {
    command.arg(token.0).arg(places.len());
    for place in places {
        receipt(*place).id.with_str(|id| {
            command.arg(id);
        });
    }
}

fn write_settlement(command: &mut Cmd, settlement: &Settlement) {
    settlement.receipt.id.with_str(|id| {
        command.arg(id);
    });
    command.arg(settlement.receipt.token.0);
    match settlement.disposition {
        Disposition::Acknowledge => {
            // SET refuses a life of zero.
            command.arg("A").arg(millis(settlement.remember.unwrap_or_default()).max(1)).arg("");
        }
        Disposition::Requeue { after } => {
            command.arg("Q").arg(millis(after)).arg(settlement.progress.to_string());
        }
        Disposition::Release => {
            command.arg("R").arg("").arg(settlement.progress.to_string());
        }
        Disposition::DeadLetter => {
            let reason = settlement.reason.as_deref().unwrap_or_default();
            command.arg("D").arg(reason).arg(settlement.progress.to_string());
        }
    }
}

/// Releases messages that were claimed for a caller who has gone.
pub(crate) fn give_back(shared: Arc<Shared>, queue: &QueueName, token: Token, ids: &str, progress: &str) {
    let mut keys = Keys::new(&shared.config.prefix, queue);
    let mut call = SETTLE.call(&mut keys, 3 + ids.len() / 8, 2 * ids.len());
    call.command.arg(millis(shared.config.dead_ttl)).arg(shared.config.dead_max).arg(0);
    let mut progress = progress.split(';');
    for id in ids.split(' ') {
        call.command.arg(id).arg(token.0).arg("R").arg("").arg(progress.next().unwrap_or_default());
    }
    let link = shared.commands.clone();
    shared.spawner.detach(async move {
        if let Err(failed) = link.run(&call).await {
            // The lease ends the claim.
            tracing::debug!(target: "windlass::broker::redis", "messages were not given back: {}", failed.error);
        }
    });
}

pub(crate) async fn extend(shared: &Arc<Shared>, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
    let mut running = Vec::new();
    for (queue, places) in by_queue(receipts, |receipt| receipt) {
        for places in places.chunks(limits::BATCH_ITEMS) {
            let claims = by_token(places, |place| receipts[place].token);
            let mut keys = Keys::new(&shared.config.prefix, queue);
            let mut call = EXTEND.call(&mut keys, 1 + 2 * claims.len() + places.len(), 40 * places.len());
            call.command.arg(millis(lease));
            for (token, places) in &claims {
                write_claim(&mut call.command, *token, places, |place| &receipts[place]);
            }
            running.push((claims, places.len(), shared.run(queue, call)));
        }
    }
    let mut statuses = vec![LeaseStatus::Lost; receipts.len()];
    for (claims, count, answer) in running {
        let characters = EXTEND.characters(answer.await?, count)?;
        let places = claims.into_iter().flat_map(|(_, places)| places);
        for (place, character) in places.zip(characters) {
            if character == b'H' {
                statuses[place] = LeaseStatus::Held;
            }
        }
    }
    Ok(statuses)
}
