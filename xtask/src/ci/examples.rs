//! Every example is run, and what it says is checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::Process;
use super::stores::{Pair, Stores};
use crate::Outcome;
use crate::cargo::{self, cargo};

const LIMIT: Duration = Duration::from_secs(120);

/// An example that is a program of its own, and a text that it prints.
struct Plain {
    name: &'static str,
    arguments: &'static [&'static str],
    prints: &'static str,
}

const PLAIN: &[Plain] = &[
    Plain { name: "quickstart", arguments: &[], prints: "2 + 3 = 5" },
    Plain { name: "testing", arguments: &[], prints: "failed as it should" },
];

/// One idea each, and the same program in memory and over every pair of stores.
const EVERYWHERE: &[Plain] = &[
    Plain { name: "results", arguments: &[], prints: "the sum is 5, the product is 6" },
    Plain { name: "retries", arguments: &[], prints: "the charge went through at attempt 3" },
    Plain { name: "delays", arguments: &[], prints: "expired: nobody started it in time" },
    Plain { name: "queues", arguments: &[], prints: "2 moved, 3 purged" },
    Plain { name: "dead_letters", arguments: &[], prints: "2 put back, 1 discarded, 0 left" },
    Plain { name: "periodic", arguments: &[], prints: "each tick came once" },
    Plain { name: "control", arguments: &[], prints: "3 pages were enqueued by the book" },
    Plain { name: "cancel", arguments: &[], prints: "cancelled: the customer has left" },
    Plain { name: "progress", arguments: &[], prints: "before that: the disk was away (attempt 1)" },
    Plain { name: "callbacks", arguments: &[], prints: "to bob: 50000 cents were not paid" },
    Plain { name: "workflow", arguments: &[], prints: "; 1 translations, 1 missing" },
    Plain { name: "durable_callbacks", arguments: &[], prints: "sorry, bob: the card was declined (attempt 2)" },
];

/// The examples that need servers: workers, a producer, a program that waits for results, and one that
/// sends its tasks by way of its own database.
const SERVED: &[&str] = &["worker", "producer", "checksum", "outbox"];

/// What a worker says when it is ready for SIGTERM.
const READY: &str = "worker is ready";

const TASKS: usize = 200;

/// What the checksums are made of.
const FOLDER: &str = "core/src";

/// Builds all examples once and runs them.
pub(crate) fn run(root: &Path) -> Outcome {
    let built = build(root)?;
    if let Some(name) = built.keys().find(|name| !is_listed(name)) {
        return Err(format!("nothing runs the example `{name}`: add it to xtask/src/ci/examples.rs"));
    }
    for example in PLAIN.iter().chain(EVERYWHERE) {
        example.run(&built, &[])?;
    }
    let stores = Stores::start();
    for pair in stores.pairs() {
        println!("-- {}", pair.name);
        for example in EVERYWHERE {
            example.run(&built, &["--broker", &pair.broker, "--backend", &pair.backend])?;
        }
        together(root, &built, &pair)?;
    }
    outbox(&built, &stores)
}

impl Plain {
    fn run(&self, built: &BTreeMap<String, PathBuf>, stores: &[&str]) -> Outcome {
        let mut command = Command::new(program(built, self.name)?);
        let output = Process::start(self.name, command.args(stores).args(self.arguments))?.finish(LIMIT)?;
        match output.contains(self.prints) {
            true => Ok(()),
            false => Err(format!("the example `{}` did not print `{}`", self.name, self.prints)),
        }
    }
}

fn is_listed(name: &str) -> bool {
    SERVED.contains(&name) || PLAIN.iter().chain(EVERYWHERE).any(|example| example.name == name)
}

/// Two workers, a producer and the checksums of our own sources: the same programs over every pair of stores.
fn together(root: &Path, built: &BTreeMap<String, PathBuf>, pair: &Pair) -> Outcome {
    let start = |label: &str, name: &str, arguments: &[&str]| {
        let mut command = Command::new(program(built, name)?);
        command.args(["--broker", &pair.broker, "--backend", &pair.backend]);
        Process::start(label, command.args(arguments).current_dir(root))
    };
    let mut workers = Vec::new();
    for label in ["worker-1", "worker-2"] {
        let worker = start(label, "worker", &[])?;
        worker.wait_for(READY, LIMIT)?;
        workers.push(worker);
    }
    start("producer", "producer", &["--tasks", &TASKS.to_string()])?.finish(LIMIT)?;
    let sums = start("checksum", "checksum", &[FOLDER])?.finish(LIMIT)?;
    compare(root, &sums)?;
    let mut succeeded = 0;
    for worker in workers {
        worker.signal("TERM")?;
        succeeded += count(&worker.finish(LIMIT)?)?;
    }
    let expected = TASKS + sums.lines().count();
    if succeeded != expected {
        return Err(format!("the workers report {succeeded} tasks, {expected} were sent"));
    }
    Ok(())
}

/// Orders whose tasks are committed with them, half of which are given up.
fn outbox(built: &BTreeMap<String, PathBuf>, stores: &Stores) -> Outcome {
    let mut command = Command::new(program(built, "outbox")?);
    command.args(["--broker", &stores.redis(), "--database", &stores.postgres(), "--orders", "20"]);
    let output = Process::start("outbox", &mut command)?.finish(LIMIT)?;
    let confirmed = "20 orders, 10 confirmed; worker: 10 succeeded";
    if output.contains(confirmed) { Ok(()) } else { Err(format!("the example `outbox` did not print `{confirmed}`")) }
}

/// The number in the report of a worker: `worker: 123 succeeded, …`.
fn count(output: &str) -> Result<usize, String> {
    let report = output.lines().find_map(|line| line.strip_prefix("worker: ")?.split_once(" succeeded"));
    let number = report.and_then(|(number, _)| number.parse().ok());
    number.ok_or_else(|| format!("a worker did not report what it did: {output:?}"))
}

/// Lets another program check the sums that the workers made.
fn compare(root: &Path, sums: &str) -> Outcome {
    if sums.lines().count() < 10 {
        return Err("the example `checksum` printed fewer sums than there are files".to_owned());
    }
    let folder = root.join("target").join("xtask");
    let file = folder.join("sums");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    std::fs::write(&file, sums).map_err(|error| format!("{}: {error}", file.display()))?;
    cargo::run(Command::new("sha256sum").args(["--check", "--quiet"]).arg(&file).current_dir(root))
}

fn program<'a>(built: &'a BTreeMap<String, PathBuf>, name: &str) -> Result<&'a PathBuf, String> {
    built.get(name).ok_or_else(|| format!("there is no example `{name}`"))
}

/// Builds with the features of the tests, so that nothing is built twice, and returns the programs.
fn build(root: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let arguments =
        ["build", "--workspace", "--all-features", "--examples", "--message-format", "json-render-diagnostics"];
    let messages = cargo::output(&mut cargo(root, &arguments))?;
    Ok(messages.lines().filter_map(example).collect())
}

/// The name and the program of an example, from a message of cargo.
fn example(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let kinds = message["target"]["kind"].as_array()?;
    let is_example = kinds.iter().any(|kind| kind == "example");
    let name = message["target"]["name"].as_str()?;
    let path = message["executable"].as_str()?;
    is_example.then(|| (name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_examples_are_told_from_other_messages() {
        let message = |kind: &str| format!(r#"{{"target":{{"kind":["{kind}"],"name":"a"}},"executable":"target/a"}}"#);
        assert_eq!(example(&message("example")), Some(("a".to_owned(), PathBuf::from("target/a"))));
        assert_eq!(example(&message("bin")), None);
        assert_eq!(example(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn the_report_of_a_worker_is_read() {
        assert_eq!(count("x\nworker: 123 succeeded, 1 lost\n"), Ok(123));
        assert!(count("worker: \n").is_err());
    }

    #[test]
    fn too_few_sums_are_an_error() {
        assert!(compare(Path::new("."), "abc  file\n").is_err());
    }
}
