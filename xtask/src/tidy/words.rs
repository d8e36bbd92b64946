//! Words that a finished test or program does not contain.

use super::finding::Finding;
use super::source::{Source, has_word};

/// Tests wait for a condition; a sleep is either too short or too long. A task may sleep to play long work.
pub(crate) fn no_sleep(source: &Source) -> Vec<Finding> {
    let first = if source.is_test() { 0 } else { source.tests_begin() };
    let lines: Vec<&str> = source.code.lines().collect();
    let sleeps = (first..lines.len()).filter(|index| has_word(lines[*index], "sleep(") && !in_task(&lines[..*index]));
    let cure = "wait until a condition holds, at most T, use virtual time, or let a `#[task]` play the long work";
    sleeps.map(|index| Finding::new(&source.path, index, "a test sleeps", cure)).collect()
}

/// Whether the function that was declared last is a task.
fn in_task(before: &[&str]) -> bool {
    let declared = before.iter().rposition(|line| has_word(line, "fn"));
    let above = declared.map_or(&[][..], |at| &before[..at]);
    let attributes =
        above.iter().rev().map(|line| line.trim()).take_while(|line| line.is_empty() || line.starts_with("#["));
    attributes.into_iter().any(|line| has_word(line, "task"))
}

/// No test is switched off and no code is left for later.
pub(crate) fn nothing_unfinished(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.code.lines().enumerate() {
        for word in ["#[ignore", "todo!", "unimplemented!"].into_iter().filter(|word| has_word(line, word)) {
            let cure = "finish it or remove it";
            findings.push(Finding::new(&source.path, index, format!("`{word}` in the code"), cure));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_found_in_tests_only() {
        let text =
            "async fn pause() { sleep(x).await }\n#[cfg(test)]\nmod tests {\n    fn t() { thread::sleep(y) }\n}\n";
        let findings = no_sleep(&Source::new("runtime/src/a.rs", text));
        assert_eq!((findings.len(), findings[0].line), (1, 4));
        assert_eq!(no_sleep(&Source::new("runtime/tests/it/a.rs", text)).len(), 2);
        assert_eq!(no_sleep(&Source::new("tests/it/a.rs", "// sleep(1)\nfn oversleep() {}")), []);
    }

    #[test]
    fn a_task_may_sleep_and_its_neighbour_may_not() {
        let task = "#[windlass::task(timeout = \"1s\")]\n/// Long.\nasync fn work(n: u64) {\n    sleep(n).await;\n}\n";
        assert_eq!(no_sleep(&Source::new("tests/it/a.rs", task)), []);
        let both = format!("{task}\n#[tokio::test]\nasync fn t() {{\n    sleep(1).await;\n}}\n");
        assert_eq!(no_sleep(&Source::new("tests/it/a.rs", both)).len(), 1);
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        let text = "#[ignore = \"slow\"]\nfn a() { todo!() }\nfn b() { unimplemented!() }\n// todo!()\n";
        let lines: Vec<usize> = nothing_unfinished(&Source::new("src/a.rs", text)).iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 2, 3]);
    }
}
