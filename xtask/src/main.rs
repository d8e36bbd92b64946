//! The commands of the windlass repository: `cargo xtask <command>`.
//!
//! | command | does |
//! |---|---|
//! | `test` | makes sure that the servers are there, then runs every test |
//! | `guarantees` | runs the conformance suites and writes `docs/guarantees.md` |
//! | `tidy` | the rules of the house that the compiler does not know |
//! | `ci` | format, rules, lints, documentation, features, examples |

mod cargo;
mod ci;
mod guarantees;
mod servers;
mod step;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a command answers: nothing, or the text of what went wrong.
type Outcome = Result<(), String>;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [-- ARGS]   install missing servers, run all tests; ARGS go to `cargo test`
  guarantees       run the conformance suites, write docs/guarantees.md
  tidy             check the rules of the house
  ci [STEP ...]    tools, format, tidy, clippy, docs, features, examples; all of them or the named ones
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = repository();
    let outcome = match args.split_first().map(|(command, rest)| (command.as_str(), rest)) {
        Some(("test", rest)) => test::run(&root, rest),
        Some(("guarantees", [])) => guarantees::run(&root),
        Some(("tidy", [])) => tidy::run(&root),
        Some(("ci", rest)) => ci::run(&root, rest),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The top folder of the repository, wherever the command was called.
fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
