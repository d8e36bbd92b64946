//! Core reads no clock, no environment and no random numbers, and does no I/O.

use super::finding::Finding;
use super::source::{Source, has_word};

const FORBIDDEN: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "println!",
    "eprintln!",
    "rand",
    "fastrand",
    "tokio",
];

/// Finds a forbidden word in the code of core, tests included.
pub(crate) fn core_is_pure(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("core/src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in source.code.lines().enumerate() {
        for word in FORBIDDEN.iter().filter(|word| has_word(line, word)) {
            let cure = "pass the value in: core is pure, the runtime and the adapters do the rest";
            findings.push(Finding::new(&source.path, index, format!("core uses `{word}`"), cure));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_core_is_found_and_a_comment_is_not() {
        let bad = Source::new("core/src/time.rs", "// tokio\nlet now = std::time::Instant::now();\n");
        let findings = core_is_pure(&bad);
        assert_eq!((findings.len(), findings[0].line), (1, 2));
        assert_eq!(core_is_pure(&Source::new("core/src/a.rs", "let operand = \"rand\"; // rand")), []);
        assert_eq!(core_is_pure(&Source::new("runtime/src/a.rs", "tokio::spawn(x)")), []);
    }
}
