//! Names and ids, valid by construction.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::NAME_BYTES;
use crate::{Error, Result};

fn check(field: &'static str, name: &str, extra: &str) -> Result<()> {
    let allowed = format_args!("1 to {NAME_BYTES} bytes of A-Z a-z 0-9 . _ -{extra}").to_string();
    if name.is_empty() {
        return Err(Error::invalid(field, "\"\" (empty)", allowed));
    }
    if name.len() > NAME_BYTES {
        return Err(Error::invalid(field, format_args!("a name of {} bytes", name.len()), allowed));
    }
    let bad =
        name.char_indices().find(|(_, c)| !(c.is_ascii_alphanumeric() || "._-".contains(*c) || extra.contains(*c)));
    if let Some((at, c)) = bad {
        return Err(Error::invalid(field, format_args!("{name:?} (character {c:?} at byte {at})"), allowed));
    }
    if name.starts_with("amq.") {
        return Err(Error::invalid(field, format_args!("{name:?}"), "the prefix amq. is reserved by RabbitMQ"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`crate::ErrorKind::Invalid`] that names the bad character and its place.
            pub fn new(name: impl AsRef<str>) -> Result<Self> {
                check($field, name.as_ref(), $extra)?;
                Ok(Self(name.as_ref().into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.to_string()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a queue: 1 to 128 bytes of `A-Z a-z 0-9 . _ -`, not starting with `amq.`.
    QueueName, "queue", ""
}

name! {
    /// The wire name of a task: as a [`QueueName`], and `:` is allowed too.
    TaskName, "task name", ":"
}

/// The queue that is used where none is named: `default`.
pub const DEFAULT_QUEUE: &str = "default";

impl Default for QueueName {
    fn default() -> Self {
        static DEFAULT: LazyLock<QueueName> = LazyLock::new(|| QueueName(DEFAULT_QUEUE.into()));
        DEFAULT.clone()
    }
}

/// The id of one task: a UUID (version 7 when windlass makes it) or a text of the caller.
///
/// ```
/// use windlass_core::TaskId;
/// let id: TaskId = "invoice:2026-11".parse().unwrap();
/// assert_eq!(id.to_string(), "invoice:2026-11");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Uuid(Uuid),
    Text(TaskName),
}

impl TaskId {
    /// A UUID of version 7 from the milliseconds since 1970 and ten random bytes.
    pub fn v7(unix_millis: u64, random: [u8; 10]) -> Self {
        Self(Repr::Uuid(uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid()))
    }

    /// Checks and takes an id: a UUID, or 1 to 128 bytes of `A-Z a-z 0-9 . _ - :`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] that names the bad character and its place.
    pub fn new(id: impl AsRef<str>) -> Result<Self> {
        let id = id.as_ref();
        // Only the canonical text form is taken as a UUID, so that every id prints as it was given.
        if id.len() == 36
            && let Ok(uuid) = Uuid::try_parse(id)
            && uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == id
        {
            return Ok(Self(Repr::Uuid(uuid)));
        }
        check("task id", id, ":")?;
        Ok(Self(Repr::Text(TaskName(id.into()))))
    }

    /// Calls `f` with the id as text, without an allocation.
    pub fn with_str<R>(&self, f: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Repr::Uuid(uuid) => f(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Repr::Text(text) => f(text.as_str()),
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|id| f.write_str(id))
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl TryFrom<String> for TaskId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self> {
        Self::new(id)
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> String {
        id.to_string()
    }
}

/// A fencing token: a later claim of the same task has a greater one.
///
/// Stores refuse what comes with a smaller token than the one they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
