//! `cargo xtask tidy`: the rules of the house that the compiler does not know.
//!
//! Each rule is a pure function from sources or metadata to findings, with a test that shows it failing.

mod architecture;
mod dependencies;
mod finding;
mod links;
mod modules;
mod paths;
mod purity;
mod signatures;
mod size;
mod source;
mod words;

use std::path::Path;

use finding::Finding;
use serde_json::Value;
use source::Source;

use crate::{Outcome, cargo};

/// Runs every rule and prints what it finds.
pub(crate) fn run(root: &Path) -> Outcome {
    let repository = Repository::read(root)?;
    let findings = repository.findings();
    for finding in &findings {
        println!("{finding}");
    }
    let failures = findings.iter().filter(|finding| !finding.warning).count();
    let warnings = findings.len() - failures;
    println!("tidy: {} files, {failures} failures, {warnings} warnings", repository.files.len());
    if failures == 0 { Ok(()) } else { Err("`cargo xtask tidy` failed: see the lines marked with `error:`".to_owned()) }
}

/// All that the rules look at.
struct Repository {
    files: Vec<String>,
    texts: Vec<(String, String)>,
    sources: Vec<Source>,
    packages: Vec<Value>,
    core_tree: String,
}

impl Repository {
    fn read(root: &Path) -> Result<Self, String> {
        let files = source::walk(root)?;
        let texts: Vec<(String, String)> = files
            .iter()
            .filter_map(|path| Some((path.clone(), std::fs::read_to_string(root.join(path)).ok()?)))
            .collect();
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let sources = rust.map(|(path, text)| Source::new(path, text)).collect();
        let tree = ["tree", "-p", "windlass-core", "-e", "normal,build", "--prefix", "none", "-f", "{p}|{f}"];
        let core_tree = cargo::output(&mut cargo::cargo(root, &tree))?;
        Ok(Self { sources, texts, packages: cargo::packages(root)?, core_tree, files })
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = dependencies::direction(&self.packages);
        findings.extend(dependencies::versions(&self.packages));
        findings.extend(dependencies::core_tree(&self.core_tree));
        findings.extend(modules::reachable(&self.sources));
        for source in &self.sources {
            findings.extend(modules::begins_with_doc(source));
            findings.extend(purity::core_is_pure(source));
            findings.extend(signatures::no_driver_type(source));
            findings.extend(size::budget(source));
            findings.extend(words::no_sleep(source));
            findings.extend(words::nothing_unfinished(source));
        }
        for (path, text) in &self.texts {
            findings.extend(paths::no_machine(path, text));
            if path.ends_with(".md") {
                findings.extend(links::lead_somewhere(path, text, &self.files));
            }
        }
        let text_of = |wanted: &str| self.texts.iter().find(|(path, _)| path == wanted).map(|(_, text)| text.as_str());
        if let Some(text) = text_of(architecture::PAGE) {
            findings.extend(architecture::names_what_exists(text, &self.files));
            findings.extend(architecture::draws_the_states(text, text_of(architecture::STATES).unwrap_or_default()));
        }
        findings
    }
}
