//! The one error of windlass: what kind, whether trying again can help, during what, and why.

use std::fmt;

use crate::TaskId;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, as far as a program can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value given by the caller is out of its limits; nothing was sent.
    Invalid,
    /// The configuration is wrong; nothing was started.
    Config,
    /// The store cannot be reached or is not ready; nothing was applied.
    Unavailable,
    /// The request was sent and no answer came: it may or may not have been applied.
    Unknown,
    /// The store answered and refused (full, out of memory, read-only).
    Rejected,
    /// The queue holds as many tasks as it may; nothing was enqueued.
    Full,
    /// The store refused the credentials or a permission is missing.
    Denied,
    /// The adapter cannot do this; its capabilities say so.
    Unsupported,
    /// Bytes could not be turned into a value, or a value into bytes.
    Codec,
    /// The time that the caller allowed is over.
    Timeout,
    /// The client, worker or adapter was closed.
    Closed,
    /// A defect in windlass or in an adapter.
    Internal,
}

/// An error with its kind, its retryability, the operation during which it came up, and its cause.
///
/// ```
/// use windlass_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Unavailable, "publish", "connection refused").with("host", "localhost:6379");
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "publish: connection refused (host: localhost:6379)");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    task_id: Option<TaskId>,
    retryable: bool,
    source: Option<Source>,
}

impl Error {
    /// Makes an error. `Unavailable`, `Unknown` and `Timeout` start as retryable, the others do not.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Timeout);
        Self(Box::new(Inner {
            kind,
            operation,
            message: message.into(),
            context: Vec::new(),
            task_id: None,
            retryable,
            source: None,
        }))
    }

    /// An [`ErrorKind::Invalid`] error that names the field, the value and what is allowed.
    pub fn invalid(field: &'static str, value: impl fmt::Display, allowed: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, field, format!("{value} is not allowed: {allowed}"))
    }

    /// Adds a named piece of context. Never pass secrets.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Names the task that the error is about.
    #[must_use]
    pub fn with_task(mut self, id: TaskId) -> Self {
        self.0.task_id = Some(id);
        self
    }

    /// Says whether the same call can succeed later.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call can succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The operation or field during which it came up.
    pub fn operation(&self) -> &str {
        self.0.operation
    }

    /// The text without operation, context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The task that the error is about, if one is named.
    pub fn task_id(&self) -> Option<&TaskId> {
        self.0.task_id.as_ref()
    }

    /// A copy for a second receiver; the cause is kept as text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let source = self.0.source.as_ref().map(|cause| Source::from(cause.to_string()));
        Self(Box::new(Inner {
            kind: self.0.kind,
            operation: self.0.operation,
            message: self.0.message.clone(),
            context: self.0.context.clone(),
            task_id: self.0.task_id.clone(),
            retryable: self.0.retryable,
            source,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        let task = self.0.task_id.as_ref().map(|id| ("task", id.to_string()));
        let mut separator = " (";
        for (key, value) in self.0.context.iter().map(|(key, value)| (*key, value.clone())).chain(task) {
            write!(f, "{separator}{key}: {value}")?;
            separator = ", ";
        }
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        write!(f, "\n  kind: {:?}, retryable: {}", self.0.kind, self.0.retryable)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
