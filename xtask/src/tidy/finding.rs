//! What a rule has to say.

use std::fmt;

/// A place that breaks a rule, and how to mend it.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    /// The path below the repository.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) cure: &'static str,
    /// Whether it is only said, and fails nothing.
    pub(crate) warning: bool,
}

impl Finding {
    /// A place that must be mended. `index` counts lines from 0.
    pub(crate) fn new(file: &str, index: usize, what: impl Into<String>, cure: &'static str) -> Self {
        Self { file: file.to_owned(), line: index + 1, what: what.into(), cure, warning: false }
    }

    /// A place that should be mended.
    pub(crate) fn warning(file: &str, index: usize, what: impl Into<String>, cure: &'static str) -> Self {
        Self { warning: true, ..Self::new(file, index, what, cure) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.warning { "warning" } else { "error" };
        write!(f, "{level}: {}:{}: {}\n    cure: {}", self.file, self.line, self.what, self.cure)
    }
}
