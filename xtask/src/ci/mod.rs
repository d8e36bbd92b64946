//! `cargo xtask ci`: every check beside the tests.

mod examples;
mod features;
mod process;
mod stores;

use std::path::Path;
use std::process::Command;

use crate::cargo::{cargo, run as call};
use crate::step::Steps;
use crate::{Outcome, tidy};

type Step = (&'static str, fn(&Path) -> Outcome);

/// The steps, those first that fail fastest.
const STEPS: &[Step] = &[
    ("tools", tools),
    ("format", |root| call(&mut cargo(root, &["fmt", "--all", "--check"]))),
    ("tidy", tidy::run),
    ("clippy", |root| call(&mut cargo(root, &["clippy", "--workspace", "--all-targets", "--all-features"]))),
    ("docs", docs),
    ("features", features::run),
    ("examples", examples::run),
];

/// Runs the steps of these names, or all of them.
pub(crate) fn run(root: &Path, names: &[String]) -> Outcome {
    let chosen = choose(names)?;
    let mut steps = Steps::default();
    let outcome = chosen.into_iter().try_for_each(|(name, work)| steps.step(name, || work(root)));
    println!("\n{}", steps.summary());
    outcome
}

fn choose(names: &[String]) -> Result<Vec<Step>, String> {
    let unknown = |name: &&String| STEPS.iter().all(|(step, _)| step != name);
    if let Some(name) = names.iter().find(unknown) {
        let steps: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
        return Err(format!("there is no step `{name}`; the steps are {}", steps.join(", ")));
    }
    Ok(STEPS.iter().copied().filter(|(step, _)| names.is_empty() || names.iter().any(|name| name == step)).collect())
}

fn docs(root: &Path) -> Outcome {
    let mut command = cargo(root, &["doc", "--workspace", "--all-features", "--no-deps"]);
    call(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// A minimal toolchain has neither rustfmt nor clippy; rustup adds them.
fn tools(root: &Path) -> Outcome {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let there = cargo(root, &[command, "--version"]).output().is_ok_and(|output| output.status.success());
        if !there {
            call(Command::new("rustup").args(["component", "add", component]).current_dir(root))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name_in_their_own_order() {
        let names = |chosen: &[&str]| {
            let chosen: Vec<String> = chosen.iter().map(|name| (*name).to_owned()).collect();
            choose(&chosen).map(|steps| steps.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["tidy", "format"]).unwrap(), ["format", "tidy"]);
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        assert!(names(&["tidi"]).unwrap_err().contains("tidy"));
    }
}
