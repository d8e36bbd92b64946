//! Words that a finished test or program does not contain.

use super::finding::Finding;
use super::source::{Source, has_word};

/// Tests wait for a condition; a sleep is either too short or too long.
///
/// What may sleep is a test in virtual time, a task (or a closure called `work`) that plays long
/// work, the method of a double, and the loop of a helper that looks again and again whether a
/// condition holds.
pub(crate) fn no_sleep(source: &Source) -> Vec<Finding> {
    let first = if source.is_test() { 0 } else { source.tests_begin() };
    let lines: Vec<&str> = source.code.lines().collect();
    let sleeps = (first..lines.len()).filter(|index| has_word(lines[*index], "sleep(") && !may_sleep(&lines, *index));
    let cure = "wait until a condition holds, at most T, or use virtual time (`start_paused = true`)";
    sleeps.map(|index| Finding::new(&source.path, index, "a test sleeps", cure)).collect()
}

fn may_sleep(lines: &[&str], sleep: usize) -> bool {
    let Some(declared) = lines[..=sleep].iter().rposition(|line| has_word(line, "fn")) else {
        return false;
    };
    let above = lines[..declared].iter().rev().map(|line| line.trim());
    let attributes: Vec<&str> = above.take_while(|line| line.is_empty() || line.starts_with("#[")).collect();
    let has = |word| attributes.iter().any(|line| has_word(line, word));
    let plays_work =
        lines[declared.max(sleep.saturating_sub(12))..sleep].iter().any(|line| line.contains("let work = "));
    if has("test") {
        return plays_work || has("start_paused");
    }
    let is_method = lines[declared..=sleep].iter().take(2).any(|line| has_word(line, "self"));
    let loops = |line: &&str| ["while", "loop", "for"].iter().any(|word| has_word(line, word));
    has("task") || is_method || plays_work || lines[declared..sleep].iter().skip(1).any(loops)
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

    /// The lines at which a test file sleeps.
    fn sleeps(text: &str) -> Vec<usize> {
        no_sleep(&Source::new("tests/it/a.rs", text)).into_iter().map(|finding| finding.line).collect()
    }

    const NOWHERE: [usize; 0] = [];

    #[test]
    fn a_sleep_in_a_test_or_in_a_helper_is_found() {
        assert_eq!(sleeps("#[tokio::test]\nasync fn t() {\n    for x in y {\n        sleep(x).await;\n"), [4]);
        assert_eq!(sleeps("async fn pause() {\n    tokio::time::sleep(x).await;\n"), [2]);
        assert_eq!(sleeps("// sleep(1)\nfn oversleep() {}"), NOWHERE);
    }

    #[test]
    fn inline_tests_are_looked_at_and_the_code_before_them_is_not() {
        let text =
            "async fn pause() { sleep(x).await }\n#[cfg(test)]\nmod tests {\n    fn t() { thread::sleep(y) }\n}\n";
        let findings = no_sleep(&Source::new("runtime/src/a.rs", text));
        assert_eq!((findings.len(), findings[0].line), (1, 4));
    }

    #[test]
    fn tasks_doubles_loops_and_virtual_time_may_sleep() {
        assert_eq!(
            sleeps("#[windlass::task(a = 1)]\n/// Long.\nasync fn work(n: u64) {\n    sleep(n).await;\n"),
            NOWHERE
        );
        assert_eq!(sleeps("fn slow() {\n    let work = move |n| async move {\n        sleep(n).await;\n"), NOWHERE);
        assert_eq!(sleeps("async fn ready(&self) {\n    sleep(n).await;\n"), NOWHERE);
        assert_eq!(sleeps("async fn until(c: C) {\n    while !c() {\n        sleep(n).await;\n"), NOWHERE);
        assert_eq!(sleeps("#[tokio::test(start_paused = true)]\nasync fn t() {\n    sleep(n).await;\n"), NOWHERE);
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        let text = "#[ignore = \"slow\"]\nfn a() { todo!() }\nfn b() { unimplemented!() }\n// todo!()\n";
        let lines: Vec<usize> = nothing_unfinished(&Source::new("src/a.rs", text)).iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 2, 3]);
    }
}
