use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::ERROR_BYTES;

/// Why a task failed, as far as a program can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The task returned an error.
    Error,
    /// The task panicked.
    Panic,
    /// A run took longer than its timeout.
    Timeout,
    /// The arguments could not be decoded.
    Arguments,
    /// The result could not be encoded, or was too large.
    Result,
    /// No worker has a handler of that name.
    Unhandled,
    /// The bytes were not a message.
    Undecodable,
    /// The workers that ran it were lost, too often.
    Lost,
    /// It asked to run later, too often.
    Snoozed,
    /// Somebody asked for it to be cancelled, or the task itself; the text is the reason.
    Cancelled,
    /// It was not started in time.
    Expired,
    /// A task that it needs, in a workflow, has no result.
    Upstream,
}

/// Why a task failed; travels to whoever asks for the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// The text of the error.
    pub message: String,
    /// The texts of its causes, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The number of the run that failed: 1 for the first.
    pub attempt: u32,
    /// For a panic: file, line and column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl Failure {
    /// A failure without causes; a text beyond 4 KiB is cut.
    pub fn new(kind: FailureKind, message: impl Into<String>, attempt: u32) -> Self {
        Self { kind, message: cut(message.into()), causes: Vec::new(), attempt, location: None }
    }

    /// The same failure with the place where it came up.
    #[must_use]
    pub fn at(self, location: Option<String>) -> Self {
        Self { location, ..self }
    }

    /// Takes the text of an error and of its causes.
    pub fn from_error(kind: FailureKind, error: &(dyn std::error::Error + 'static), attempt: u32) -> Self {
        let mut failure = Self::new(kind, error.to_string(), attempt);
        let mut source = error.source();
        while let Some(cause) = source
            && failure.causes.len() < 16
        {
            failure.causes.push(cut(cause.to_string()));
            source = cause.source();
        }
        failure
    }
}

fn cut(mut text: String) -> String {
    if text.len() > ERROR_BYTES {
        text.truncate(text.floor_char_boundary(ERROR_BYTES));
        text.push('…');
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        match self.attempt {
            0 => Ok(()),
            attempt => write!(f, " (attempt {attempt})"),
        }
    }
}
