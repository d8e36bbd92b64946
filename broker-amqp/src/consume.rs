//! Claiming messages, and waiting for some.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;
use windlass_core::message::wire;
use windlass_core::{Delivery, FetchRequest, QueueName, Receipt, Result, Undecodable, limits};

use crate::broker::Shared;
use crate::session::Session;
use crate::state::State;

pub(crate) async fn fetch(shared: &Arc<Shared>, request: &FetchRequest) -> Result<Vec<Delivery>> {
    let session = shared.session(&request.queue);
    let max = request.max.clamp(1, limits::BATCH_ITEMS);
    let missing = {
        let state = session.lock();
        let wanted = wanted(shared, &state, max);
        (!state.can_serve(max, request.reserve, wanted)).then_some(wanted)
    };
    if let Some(wanted) = missing {
        let _fetching = Fetching::begin(&session);
        let worker = Arc::clone(&session);
        shared.spawner.start(async move { begin(&worker, wanted).await }).await??;
    }
    let (taken, more) = {
        let mut state = session.lock();
        (state.take(max, request.reserve), !state.buffer.is_empty())
    };
    if taken.is_empty() {
        session.listen_again();
    }
    if more {
        // Whoever was told of the rest may have been this fetch.
        session.arrived.notify_one();
    }
    let queue = &request.queue;
    let delivery = |((id, token), progress, bytes): ((_, _), _, _)| {
        let content = wire::decode(windlass_core::TaskId::clone(&id), queue.clone(), &bytes)
            .map_err(|malformed| Undecodable { malformed, bytes });
        Delivery { receipt: Receipt { queue: queue.clone(), id, token }, progress, content }
    };
    Ok(taken.into_iter().map(delivery).collect())
}

/// A fetch that is going on.
struct Fetching<'a>(&'a Session);

impl<'a> Fetching<'a> {
    fn begin(session: &'a Session) -> Self {
        session.lock().begin_fetch();
        Self(session)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.lock().end_fetch();
    }
}

/// As many as the worker has and asks for, so that it never holds what it cannot run.
fn wanted(shared: &Shared, state: &State, max: usize) -> u16 {
    let needed = u16::try_from(state.claims.len() + max).unwrap_or(u16::MAX);
    shared.config.prefetch.unwrap_or(needed)
}

/// Consumes what is not consumed, and waits for what that brings: a less urgent message that came
/// sooner must not be taken for the most urgent one.
async fn begin(session: &Arc<Session>, wanted: u16) -> Result<()> {
    session.ensure(wanted).await?;
    loop {
        let arrived = session.arrived.notified();
        let Some(until) = session.lock().incomplete_until() else { return Ok(()) };
        let _ = timeout_at(until, arrived).await;
    }
}

/// Waits until something has come. Claims nothing: what has come waits for a fetch.
///
/// Each arrival tells one waiter, and each fetch that leaves something tells the next, so one message
/// does not wake everybody.
pub(crate) async fn ready(shared: &Arc<Shared>, queue: &QueueName, wait: Duration) -> Result<()> {
    let session = shared.session(queue);
    let until = shared.spawner.sleep(wait);
    tokio::pin!(until);
    let worker = Arc::clone(&session);
    let prefetch = shared.config.prefetch.unwrap_or(1);
    let begun = shared.spawner.start(async move { worker.ensure(prefetch).await });
    tokio::select! {
        begun = begun => begun??,
        () = &mut until => return Ok(()),
        () = shared.closed() => return shared.check_open(),
    }
    let epoch = session.lock().epoch();
    loop {
        let arrived = session.arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();
        if session.lock().epoch() != epoch {
            // After the loss of the channel the next fetch begins anew.
            return Ok(());
        }
        tokio::select! {
            () = arrived => if !session.lock().buffer.is_empty() {
                return Ok(());
            },
            () = &mut until => return Ok(()),
            () = shared.closed() => return shared.check_open(),
        }
    }
}
