//! `cargo xtask test`: every test of the workspace, with its servers.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use crate::cargo::{cargo, show};
use crate::{Outcome, guarantees, servers};

/// Makes sure of the servers, runs the tests and sums up their results.
pub(crate) fn run(root: &Path, args: &[String]) -> Outcome {
    let extra = match args.split_first() {
        None => &[][..],
        Some((dashes, rest)) if dashes == "--" => rest,
        Some((word, _)) => return Err(format!("`{word}`: arguments for `cargo test` come after `--`")),
    };
    servers::ensure()?;
    let start = Instant::now();
    let mut command = cargo(root, &["test", "--all-features"]);
    if !names_package(extra) {
        command.arg("--workspace");
    }
    let (variable, shown) = guarantees::record(root)?;
    command.args(extra).env(variable, &shown).stdout(Stdio::piped());
    println!("$ {}", show(&command));
    let mut child = command.spawn().map_err(|error| format!("`cargo test` cannot be started: {error}"))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            tally.add(&line);
        }
    }
    let status = child.wait().map_err(|error| format!("`cargo test` cannot be waited for: {error}"))?;
    let summary = tally.summary(start.elapsed().as_secs_f64());
    if status.success() {
        println!("\n{summary}");
        // Only a run of everything shows what the page says.
        return if extra.is_empty() { guarantees::check(root, &shown) } else { Ok(()) };
    }
    Err(format!("\n{summary}\n`cargo test` ended with {status}"))
}

/// Whether the arguments choose packages, which `--workspace` would overrule.
fn names_package(args: &[String]) -> bool {
    let ours = args.split(|arg| arg == "--").next().unwrap_or_default();
    ours.iter().any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// The counts of all test programs together.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Counts a line like `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        self.programs += 1;
        self.passed += count(result, " passed");
        self.failed += count(result, " failed");
        self.ignored += count(result, " ignored");
    }

    fn summary(&self, seconds: f64) -> String {
        let Self { programs, passed, failed, ignored } = self;
        format!("{passed} passed, {failed} failed, {ignored} ignored in {programs} test programs, {seconds:.0} s")
    }
}

fn count(result: &str, label: &str) -> u64 {
    let before = result.split_once(label).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_adds_up_programs_and_skips_other_lines() {
        let mut tally = Tally::default();
        tally.add("running 3 tests");
        tally.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        tally.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(tally, Tally { programs: 2, passed: 7, failed: 2, ignored: 1 });
        assert_eq!(tally.summary(1.0), "7 passed, 2 failed, 1 ignored in 2 test programs, 1 s");
    }

    #[test]
    fn only_arguments_of_cargo_choose_packages() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(names_package(&words("-p windlass-core")));
        assert!(names_package(&words("--package=windlass-core")));
        assert!(!names_package(&words("name -- -p")));
    }
}
