//! The facade compiles with each of its features alone, with none, with all, and with the default ones,
//! which are enough for its examples too; with none its own tests run.

use std::path::Path;

use serde_json::Value;

use crate::Outcome;
use crate::cargo::{self, cargo};

/// Checks every choice, one after the other.
pub(crate) fn run(root: &Path) -> Outcome {
    for arguments in choices(&cargo::packages(root)?) {
        let mut command = cargo(root, &["check", "--quiet", "--package", "windlass"]);
        cargo::run(command.args(arguments))?;
    }
    // What a program says that asks for an adapter which is not compiled in.
    cargo::run(&mut cargo(root, &["test", "--quiet", "--package", "windlass", "--lib", "--no-default-features"]))
}

/// The arguments of each choice, the default one first. All features together are what clippy sees too, but
/// with what the tests add to them.
fn choices(packages: &[Value]) -> Vec<Vec<String>> {
    let bare = "--no-default-features".to_owned();
    let mut choices = vec![vec!["--examples".to_owned()], vec!["--all-features".to_owned()], vec![bare.clone()]];
    let facade = packages.iter().find(|package| package["name"] == "windlass");
    let features = facade.and_then(|package| package["features"].as_object());
    let names = features.into_iter().flat_map(|features| features.keys()).filter(|name| *name != "default");
    choices.extend(names.map(|name| vec![bare.clone(), "--features".to_owned(), name.clone()]));
    choices
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_feature_of_the_facade_is_a_choice() {
        let packages = [
            json!({ "name": "windlass-testing", "features": { "mock": [] } }),
            json!({ "name": "windlass", "features": { "default": ["redis"], "redis": [], "config": [] } }),
        ];
        let shown: Vec<String> = choices(&packages).iter().map(|words| words.join(" ")).collect();
        let alone = |name: &str| format!("--no-default-features --features {name}");
        let fixed = ["--examples", "--all-features", "--no-default-features"].map(str::to_owned);
        assert_eq!(shown[..3], fixed);
        assert_eq!(shown[3..], [alone("config"), alone("redis")]);
    }
}
