//! Claiming messages, and waiting for some.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use windlass_core::message::wire;
use windlass_core::{
    Delivery, Error, ErrorKind, FetchRequest, Priority, Progress, QueueName, Receipt, Result, TaskId, Token,
    Undecodable, limits,
};

use crate::broker::Shared;
use crate::keys::Keys;
use crate::publish::millis;
use crate::scripts::{Call, FETCH};
use crate::settle;

/// Messages of larger batches get memory of their own, so that one slow task does not hold all.
const SHARED_BYTES: usize = 64 * 1024;

pub(crate) async fn fetch(shared: &Arc<Shared>, request: &FetchRequest) -> Result<Vec<Delivery>> {
    let work = attempt(Arc::clone(shared), request.clone());
    // If the caller goes away, what was claimed is dropped, which gives it back.
    match shared.spawner.start(work).await?? {
        Attempt::Claimed(claimed) => claimed.deliveries(),
        Attempt::Nothing => Ok(Vec::new()),
    }
}

/// Waits until there may be something. What the last fetch of the queue told ends the wait too.
pub(crate) async fn ready(shared: &Arc<Shared>, queue: &QueueName, wait: Duration) -> Result<()> {
    shared.bell.wait(queue, wait).await;
    shared.check_open()
}

#[derive(Debug)]
enum Attempt {
    Claimed(Claimed),
    Nothing,
}

async fn attempt(shared: Arc<Shared>, request: FetchRequest) -> Result<Attempt> {
    let answer = match shared.commands.run(&write(&shared, &request)).await {
        Ok(answer) => answer,
        Err(failed) => return Err(shared.explain(&request.queue, failed).await),
    };
    match answer {
        Value::Int(next) => {
            shared.bell.expect(&request.queue, u64::try_from(next).ok().map(Duration::from_millis));
            Ok(Attempt::Nothing)
        }
        Value::Array(parts) => match <[Value; 5]>::try_from(parts) {
            Ok(parts) => Claimed::read(&shared, &request.queue, parts).map(Attempt::Claimed),
            Err(parts) => Err(FETCH.unexpected(&Value::Array(parts))),
        },
        other => Err(FETCH.unexpected(&other)),
    }
}

fn write(shared: &Shared, request: &FetchRequest) -> Call {
    let mut call = FETCH.call(&mut Keys::new(&shared.config.prefix, &request.queue), 6, 32);
    call.command.arg(request.max.clamp(1, limits::BATCH_ITEMS)).arg(millis(request.lease));
    if !request.reserve.is_none() {
        for priority in [Priority::Critical, Priority::High, Priority::Normal, Priority::Low] {
            call.command.arg(request.reserve.of(priority));
        }
    }
    call
}

/// Claimed messages as the script gives them; given back if nobody takes them.
#[derive(Debug)]
struct Claimed {
    shared: Option<Arc<Shared>>,
    queue: QueueName,
    token: Token,
    ids: String,
    lengths: String,
    bodies: Bytes,
    progress: String,
}

impl Claimed {
    fn read(shared: &Arc<Shared>, queue: &QueueName, parts: [Value; 5]) -> Result<Self> {
        let [token, ids, lengths, bodies, progress] = parts;
        Ok(Self {
            token: Token(text(token)?.parse().map_err(|_| broken("the token"))?),
            ids: text(ids)?,
            lengths: text(lengths)?,
            bodies: FETCH.bytes(bodies)?.into(),
            progress: text(progress)?,
            queue: queue.clone(),
            shared: Some(Arc::clone(shared)),
        })
    }

    fn deliveries(mut self) -> Result<Vec<Delivery>> {
        self.shared = None;
        let own = self.bodies.len() > SHARED_BYTES;
        let mut progress = self.progress.split(';');
        let mut deliveries = Vec::with_capacity(self.ids.len() / 37 + 1);
        let mut at = 0;
        for (id, length) in self.ids.split(' ').zip(self.lengths.split(' ')) {
            let end = at + length.parse::<usize>().map_err(|_| broken("the lengths"))?;
            let progress = Progress::read(progress.next().unwrap_or_default());
            let bytes = self.bodies.get(at..end).ok_or_else(|| broken("the bodies"))?;
            let bytes = if own { Bytes::copy_from_slice(bytes) } else { self.bodies.slice(at..end) };
            at = end;
            match TaskId::new(id) {
                Ok(id) => deliveries.push(self.delivery(id, progress, bytes)),
                // Somebody else wrote it; it cannot be settled, but it must not stop the others.
                Err(error) => tracing::error!(
                    target: "windlass::broker::redis",
                    queue = self.queue.as_str(),
                    "a message is left in the queue: {error}"
                ),
            }
        }
        Ok(deliveries)
    }

    fn delivery(&self, id: TaskId, progress: Progress, bytes: Bytes) -> Delivery {
        let content =
            wire::decode(id.clone(), self.queue.clone(), &bytes).map_err(|malformed| Undecodable { malformed, bytes });
        Delivery { receipt: Receipt { queue: self.queue.clone(), id, token: self.token }, progress, content }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            settle::give_back(shared, &self.queue, self.token, &self.ids, &self.progress);
        }
    }
}

fn text(value: Value) -> Result<String> {
    String::from_utf8(FETCH.bytes(value)?).map_err(|_| broken("a text"))
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Internal, FETCH.operation, format!("the script's answer cannot be read: {what}"))
}
