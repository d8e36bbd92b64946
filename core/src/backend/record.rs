use std::fmt::Write as _;

use bytes::Bytes;

use super::{Failure, Retention};
use crate::{State, TaskId, Timestamp, Token, limits};

/// What became of a task, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The task.
    pub id: TaskId,
    /// The claim under which it was written.
    pub token: Token,
    /// The state.
    pub state: State,
    /// The number of the last run; 0 if it never ran.
    pub attempt: u32,
    /// When this was written.
    pub at: Timestamp,
    /// The result, if it succeeded and is (still) kept.
    pub result: Option<Bytes>,
    /// The last failure, if there was one.
    pub failure: Option<Failure>,
    /// How long the record is kept.
    pub status_ttl: Retention,
    /// How long `result` is kept; never longer than the record.
    pub result_ttl: Retention,
}

/// Bytes that are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record: {0}")]
pub struct RecordError(&'static str);

impl Record {
    /// Whether this record may take the place of `stored`.
    ///
    /// Never over what a later claim wrote. Over a final state only
    ///
    /// * the same state of the same claim, so that a save can be repeated;
    /// * `queued` over `cancelled`, under the same claim: the id is used anew;
    /// * anything of a later claim over `failed`: the task was put back from the dead letters.
    pub fn replaces(&self, stored: &Self) -> bool {
        if self.token < stored.token {
            return false;
        }
        if !stored.state.is_final() {
            return true;
        }
        if self.token == stored.token {
            return self.state == stored.state || (stored.state == State::Cancelled && self.state == State::Queued);
        }
        stored.state == State::Failed
    }

    /// The bytes of a record, without its id and retention.
    ///
    /// ```text
    /// 1 <token> <state> <attempt> <microseconds UTC>\n
    /// <length of the failure, 0 if there is none>\n
    /// <failure as JSON><result, if there is one: "=" and the bytes>
    /// ```
    ///
    /// The first line can be read by a server-side script that guards the write.
    pub fn encode(&self) -> Vec<u8> {
        self.write(self.result.as_deref())
    }

    /// As [`Record::encode`], without the result: for stores that keep it elsewhere.
    pub fn encode_status(&self) -> Vec<u8> {
        self.write(None)
    }

    fn write(&self, result: Option<&[u8]>) -> Vec<u8> {
        let failure = self.failure.as_ref().and_then(|failure| serde_json::to_string(failure).ok()).unwrap_or_default();
        let mut out = String::with_capacity(64 + failure.len() + result.map_or(0, <[u8]>::len));
        let _ = write!(
            out,
            "1 {} {} {} {}\n{}\n",
            self.token,
            self.state,
            self.attempt,
            self.at.as_micros(),
            failure.len()
        );
        out.push_str(&failure);
        let mut out = out.into_bytes();
        if let Some(result) = result {
            out.push(b'=');
            out.extend_from_slice(result);
        }
        out
    }

    /// The record in `bytes`. The result is not copied. Retentions are not part of the bytes and
    /// come back as `Forever`.
    ///
    /// # Errors
    /// [`RecordError`] that says what is missing.
    pub fn decode(id: TaskId, bytes: &Bytes) -> Result<Self, RecordError> {
        let (first, rest) = line(bytes)?;
        let mut words = first.split(' ');
        let mut word = |what: &'static str| words.next().ok_or(RecordError(what));
        if word("no version")? != "1" {
            return Err(RecordError("unknown version"));
        }
        let token = word("no token")?.parse().map_err(|_| RecordError("bad token"))?;
        let state = State::from_name(word("no state")?).ok_or(RecordError("bad state"))?;
        let attempt = word("no attempt")?.parse().map_err(|_| RecordError("bad attempt"))?;
        let at = word("no time")?.parse().map_err(|_| RecordError("bad time"))?;
        let (length, rest) = line(&rest)?;
        let length: usize = length.parse().map_err(|_| RecordError("bad failure length"))?;
        if length > rest.len() {
            return Err(RecordError("cut short"));
        }
        let failure = match length {
            0 => None,
            _ => Some(serde_json::from_slice(&rest[..length]).map_err(|_| RecordError("bad failure"))?),
        };
        let result = rest.slice(length..);
        let result = result.first().map(|_| result.slice(1..));
        Ok(Self {
            id,
            token: Token(token),
            state,
            attempt,
            at: Timestamp::from_micros(at),
            result,
            failure,
            status_ttl: Retention::Forever,
            result_ttl: Retention::Forever,
        })
    }

    /// Bytes that this record weighs in a batch.
    pub fn weight(&self) -> usize {
        self.result.as_ref().map_or(0, Bytes::len) + self.failure.as_ref().map_or(0, |_| limits::ERROR_BYTES)
    }
}

fn line(bytes: &Bytes) -> Result<(&str, Bytes), RecordError> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or(RecordError("cut short"))?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| RecordError("not text"))?;
    Ok((text, bytes.slice(end + 1..)))
}
