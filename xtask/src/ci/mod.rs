//! `cargo xtask ci`: every check beside the tests.

mod examples;
mod features;
mod process;
mod redis;

use std::path::Path;
use std::process::Command;

use crate::cargo::{cargo, run as call};
use crate::step::Steps;
use crate::{Outcome, tidy};

/// The steps in the order in which they fail fastest.
pub(crate) fn run(root: &Path) -> Outcome {
    let mut steps = Steps::default();
    let outcome = all(root, &mut steps);
    println!("\n{}", steps.summary());
    outcome
}

fn all(root: &Path, steps: &mut Steps) -> Outcome {
    steps.step("tools", || tools(root))?;
    steps.step("format", || call(&mut cargo(root, &["fmt", "--all", "--check"])))?;
    steps.step("tidy", || tidy::run(root))?;
    steps.step("clippy", || call(&mut cargo(root, &["clippy", "--workspace", "--all-targets", "--all-features"])))?;
    steps.step("docs", || {
        let mut command = cargo(root, &["doc", "--workspace", "--all-features", "--no-deps"]);
        call(command.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.step("features", || features::run(root))?;
    steps.step("examples", || examples::run(root))
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
