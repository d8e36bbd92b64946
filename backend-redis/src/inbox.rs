//! Hears, on a connection of its own, which tasks have ended.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::Value;
use redis::aio::PubSub;
use tokio::time::{sleep, timeout};
use windlass_core::TaskId;

use crate::board::Board;
use crate::connection::pause;

/// Listens for ever; a connection that breaks is replaced.
pub(crate) async fn serve(board: Arc<Board>) {
    let channel = board.store.keys.inbox(&board.inbox);
    let mut attempts = 0;
    loop {
        match board.store.link.opener().subscription(&channel).await {
            Ok(connection) => {
                attempts = 0;
                board.heard.send_replace(true);
                receive(&board, connection).await;
                board.heard.send_replace(false);
            }
            Err(error) if attempts == 0 => {
                tracing::warn!(target: "windlass::backend::redis", "{error}; results are polled for, not pushed");
            }
            Err(_) => {}
        }
        sleep(pause(attempts)).await;
        attempts += 1;
    }
}

/// Hands on what is pushed, until the connection breaks.
async fn receive(board: &Board, connection: PubSub) {
    let (mut requests, mut messages) = connection.split();
    loop {
        match timeout(board.poll, messages.next()).await {
            Ok(Some(message)) => hand_on(board, message.get_payload_bytes()),
            Ok(None) => return,
            Err(_) if board.is_idle() => {}
            // Silence can also mean that the connection is dead.
            Err(_) => match timeout(board.store.link.operation_timeout(), requests.ping::<Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}

/// A message is an id, and after a line feed the record unless that is too large.
fn hand_on(board: &Board, message: &[u8]) {
    let (id, record) = match message.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&message[..end], Bytes::copy_from_slice(&message[end + 1..])),
        None => (message, Bytes::new()),
    };
    match std::str::from_utf8(id).ok().and_then(|id| TaskId::new(id).ok()) {
        Some(id) => board.ended(&id, &record),
        None => tracing::debug!(target: "windlass::backend::redis", "a message to waiters names no task"),
    }
}
