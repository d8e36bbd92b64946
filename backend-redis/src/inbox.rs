//! Hears which tasks have ended.

use bytes::Bytes;
use windlass_core::TaskId;

use crate::board::Board;
use crate::ears::{Ear, Line};

impl Ear for Board {
    /// A message is an id, and after a line feed the record unless that is too large.
    fn hear(&self, message: &[u8]) {
        let (id, record) = match message.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&message[..end], Bytes::copy_from_slice(&message[end + 1..])),
            None => (message, Bytes::new()),
        };
        match std::str::from_utf8(id).ok().and_then(|id| TaskId::new(id).ok()) {
            Some(id) => self.ended(&id, &record),
            None => tracing::debug!(target: "windlass::backend::redis", "a message to waiters names no task"),
        }
    }

    fn turn(&self, line: Line) {
        self.heard.send_replace(matches!(line, Line::Heard));
    }

    fn is_idle(&self) -> bool {
        Board::is_idle(self)
    }
}
