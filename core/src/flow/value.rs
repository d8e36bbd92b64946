use bytes::{BufMut, Bytes, BytesMut};

use super::{INPUT_BYTES, Input};
use crate::{Error, ErrorKind, Failure, NoteKey, Result, TaskId};

/// What a task hands on: its result, or where the results are that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A value as JSON.
    Json(Bytes),
    /// A group: the values are in a set of their own, however many they are.
    Set(Reference),
}

/// A set of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The node that they were gathered for.
    pub id: TaskId,
    /// How many there are, and what they make.
    pub input: Input,
}

/// The value of one place of a set of inputs.
///
/// ```text
/// =<JSON>                     a value
/// @<id> <places> <shape>      the values of another set
/// +<id> <places> <shape>      {"Ok": the values of another set}
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A value.
    Json(Bytes),
    /// The values of another set.
    Set(Reference),
    /// The same, as what went well.
    OkSet(Reference),
}

impl Stored {
    /// What went well, as it is.
    pub fn plain(content: Content) -> Self {
        match content {
            Content::Json(json) => Self::Json(json),
            Content::Set(reference) => Self::Set(reference),
        }
    }

    /// What went well, for who takes a `Result`.
    pub fn ok(content: Content) -> Self {
        match content {
            Content::Json(json) => Self::Json(wrap("Ok", &json)),
            Content::Set(reference) => Self::OkSet(reference),
        }
    }

    /// What went wrong, as it is.
    pub fn failure(failure: &Failure) -> Self {
        // A failure is texts and numbers, which can always be written.
        Self::Json(serde_json::to_vec(failure).unwrap_or_default().into())
    }

    /// What went wrong, for who takes a `Result`.
    pub fn err(failure: &Failure) -> Self {
        match Self::failure(failure) {
            Self::Json(json) => Self::Json(wrap("Err", &json)),
            other => other,
        }
    }

    /// The bytes of a place.
    pub fn encode(&self) -> Bytes {
        let reference = |tag: char, of: &Reference| Bytes::from(format!("{tag}{} {}", of.id, of.input));
        match self {
            Self::Json(json) => {
                let mut out = BytesMut::with_capacity(json.len() + 1);
                out.put_u8(b'=');
                out.extend_from_slice(json);
                out.freeze()
            }
            Self::Set(of) => reference('@', of),
            Self::OkSet(of) => reference('+', of),
        }
    }

    /// Reads the bytes of a place.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if they are none.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let damaged = || Error::new(ErrorKind::Codec, "input", "a stored input cannot be read");
        let reference = || {
            let text = std::str::from_utf8(&bytes[1..]).ok()?;
            let (id, input) = text.split_once(' ')?;
            Some(Reference { id: TaskId::new(id).ok()?, input: input.parse().ok()? })
        };
        match bytes.first() {
            Some(b'=') => Ok(Self::Json(bytes.slice(1..))),
            Some(b'@') => reference().map(Self::Set).ok_or_else(damaged),
            Some(b'+') => reference().map(Self::OkSet).ok_or_else(damaged),
            _ => Err(damaged()),
        }
    }
}

impl Reference {
    /// The set.
    ///
    /// # Errors
    /// Never for the id of a task.
    pub fn set(&self) -> Result<NoteKey> {
        NoteKey::new(super::INPUT_SHELF, self.id.to_string())
    }
}

fn wrap(name: &str, json: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(json.len() + name.len() + 5);
    out.extend_from_slice(format!("{{\"{name}\":").as_bytes());
    out.extend_from_slice(json);
    out.put_u8(b'}');
    out.freeze()
}

/// What stands around the values of an input: before the first, between two, and behind the last.
pub fn frame(input: Input) -> (&'static [u8], &'static [u8], &'static [u8]) {
    match input.shape {
        super::Shape::One => (b"", b"", b""),
        super::Shape::List | super::Shape::Tuple => (b"[", b",", b"]"),
    }
}

/// The arguments of a task: its input first, then those of its own, which are a JSON array.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the input is beyond its limit, [`ErrorKind::Codec`] if `rest` is no array.
pub fn payload(input: &[u8], rest: &[u8]) -> Result<Bytes> {
    check_input(input.len())?;
    let inner = rest.trim_ascii().strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let Some(inner) = inner.map(<[u8]>::trim_ascii) else {
        return Err(Error::new(ErrorKind::Codec, "arguments", "what follows the first argument is not a JSON array"));
    };
    let mut out = BytesMut::with_capacity(input.len() + inner.len() + 3);
    out.put_u8(b'[');
    out.extend_from_slice(input);
    if !inner.is_empty() {
        out.put_u8(b',');
    }
    out.extend_from_slice(inner);
    out.put_u8(b']');
    Ok(out.freeze())
}

/// Refuses an input that is too large to be given to one task.
pub(crate) fn check_input(bytes: usize) -> Result<()> {
    if bytes <= INPUT_BYTES {
        return Ok(());
    }
    let allowed = "at most 268435456 B of results for one task: hand on less, or in several steps";
    Err(Error::invalid("input", format_args!("{bytes} B"), allowed))
}
