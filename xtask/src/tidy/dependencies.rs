//! Which crate may know which.

use serde_json::Value;

use super::finding::Finding;

const PREFIX: &str = "windlass-";

/// What a package may depend on: its own kind of crates, by name without the prefix.
struct Rule {
    /// The folder; a `*` at the end stands for any ending.
    package: &'static str,
    normal: &'static [&'static str],
    dev: &'static [&'static str],
}

/// The drawing of the house. A package that is not in it may not depend on any of ours.
const RULES: &[Rule] = &[
    Rule { package: "core", normal: &[], dev: &[] },
    // The code that a macro writes names core, so its tests need it.
    Rule { package: "macros", normal: &[], dev: &["core"] },
    Rule { package: "runtime", normal: &["core"], dev: &["testing"] },
    Rule { package: "broker-*", normal: &["core"], dev: &["testing"] },
    Rule { package: "backend-*", normal: &["core"], dev: &["testing"] },
    Rule { package: "testing", normal: &["core", "runtime?"], dev: &["core", "runtime"] },
    Rule { package: "bench", normal: &["", "core", "runtime", "testing", "broker-*", "backend-*"], dev: &["testing"] },
    // The task runner starts the servers of the tests for the examples.
    Rule { package: "xtask", normal: &["testing"], dev: &[] },
    // The facade, whose package has the bare name, knows every library.
    Rule { package: "", normal: FACADE, dev: FACADE },
];

const FACADE: &[&str] = &["core", "runtime", "macros", "testing", "broker-*", "backend-*"];

/// What must not come near core, be it through a dependency of a dependency.
const IMPURE: &[&str] = &["tokio", "redis", "lapin", "sqlx", "figment", "fastrand", "rand", "rand_core", "getrandom"];

/// The features of uuid that bring a clock or randomness.
const IMPURE_UUID: &[&str] = &["v1", "v4", "v6", "v7", "rng", "fast-rng", "rng-rand", "rng-getrandom"];

/// Every dependency of ours on ours follows the drawing.
pub(crate) fn direction(packages: &[Value]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(name) = package["name"].as_str().and_then(short) else {
            continue;
        };
        for dependency in dependencies(package) {
            let Some(other) = dependency["name"].as_str().and_then(short) else {
                continue;
            };
            let dev = dependency["kind"] == "dev";
            let optional = dependency["optional"] == true;
            if !allowed(name, other, dev, optional) {
                let kind = if dev { "dev-depends" } else { "depends" };
                let what = format!("`{}` {kind} on `{}`", full(name), full(other));
                let cure = "follow the table in xtask/src/tidy/dependencies.rs: adapters and runtime know only core";
                findings.push(Finding::new(&manifest(name), 0, what, cure));
            }
        }
    }
    findings
}

fn allowed(name: &str, other: &str, dev: bool, optional: bool) -> bool {
    let Some(rule) = RULES.iter().find(|rule| matches(rule.package, name)) else {
        return false;
    };
    let entries = if dev { rule.dev } else { rule.normal };
    entries.iter().any(|entry| match entry.strip_suffix('?') {
        Some(entry) => optional && matches(entry, other),
        None => matches(entry, other),
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

/// The dev-dependencies on our own crates carry no version, so that the crates can be published in any order.
pub(crate) fn versions(packages: &[Value]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(name) = package["name"].as_str().and_then(short) else {
            continue;
        };
        for dependency in dependencies(package) {
            let ours = dependency["name"].as_str().and_then(short);
            if let (Some(other), true) = (ours, dependency["kind"] == "dev" && dependency["req"] != "*") {
                let what = format!("the dev-dependency on `{}` carries a version", full(other));
                let cure = "name only its path: `{ path = \"../…\" }` or `{ workspace = true }`";
                findings.push(Finding::new(&manifest(name), 0, what, cure));
            }
        }
    }
    findings
}

/// `cargo tree` of core, one `name vX (path)|features` a line, names nothing impure.
pub(crate) fn core_tree(tree: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in tree.lines() {
        let (package, features) = line.split_once('|').unwrap_or((line, ""));
        let name = package.split(' ').next().unwrap_or_default();
        if IMPURE.contains(&name) {
            let cure = "remove it: core has no driver, no runtime, no clock and no randomness";
            findings.push(Finding::new(&manifest("core"), 0, format!("core reaches `{name}`"), cure));
        }
        let feature = features.split(',').find(|feature| IMPURE_UUID.contains(feature));
        if let (true, Some(feature)) = (name == "uuid", feature) {
            let what = format!("core reaches `uuid` with the feature `{feature}`");
            let cure = "remove the feature: ids are made from a clock and from bits that are passed in";
            findings.push(Finding::new(&manifest("core"), 0, what, cure));
        }
    }
    findings
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().into_iter().flatten()
}

/// The folder of one of our packages; none for a foreign one.
fn short(name: &str) -> Option<&str> {
    if name == "windlass" { Some("") } else { name.strip_prefix(PREFIX) }
}

fn full(short: &str) -> String {
    if short.is_empty() { "windlass".to_owned() } else { format!("{PREFIX}{short}") }
}

fn manifest(short: &str) -> String {
    if short.is_empty() { "Cargo.toml".to_owned() } else { format!("{short}/Cargo.toml") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn depends(name: &str, other: &str, kind: Option<&str>, optional: bool) -> Vec<Value> {
        let dependency = json!({ "name": other, "kind": kind, "optional": optional, "req": "*" });
        vec![json!({ "name": name, "dependencies": [dependency] })]
    }

    #[test]
    fn what_the_drawing_shows_is_allowed() {
        for (name, other, kind, optional) in [
            ("windlass-runtime", "windlass-core", None, false),
            ("windlass-broker-redis", "windlass-testing", Some("dev"), false),
            ("windlass-testing", "windlass-runtime", None, true),
            ("windlass", "windlass-backend-postgres", None, true),
            ("windlass-bench", "windlass", None, false),
            ("windlass-core", "serde", None, false),
        ] {
            assert_eq!(direction(&depends(name, other, kind, optional)), [], "{name} -> {other}");
        }
    }

    #[test]
    fn what_the_drawing_does_not_show_is_found() {
        for (name, other, kind, optional) in [
            ("windlass-core", "windlass-runtime", None, true),
            ("windlass-core", "windlass-testing", Some("dev"), false),
            ("windlass-macros", "windlass-core", None, false),
            ("windlass-runtime", "windlass-broker-redis", None, false),
            ("windlass-runtime", "windlass-testing", None, false),
            ("windlass-broker-redis", "windlass-backend-redis", None, false),
            ("windlass-broker-redis", "windlass-runtime", None, false),
            ("windlass-testing", "windlass-runtime", None, false),
            ("windlass", "windlass-bench", None, false),
            ("windlass-stranger", "windlass-core", None, false),
        ] {
            let findings = direction(&depends(name, other, kind, optional));
            assert_eq!(findings.len(), 1, "{name} -> {other}");
            assert!(findings[0].what.contains(name) && findings[0].what.contains(other));
        }
    }

    #[test]
    fn a_version_at_a_dev_dependency_of_ours_is_found() {
        let with = |kind: &str, req: &str| {
            versions(&[
                json!({ "name": "windlass", "dependencies": [{ "name": "windlass-testing", "kind": kind, "req": req }] }),
            ])
        };
        assert_eq!(with("dev", "^0.1.0").len(), 1);
        assert_eq!(with("dev", "*"), []);
        assert_eq!(with("normal", "^0.1.0"), []);
    }

    #[test]
    fn an_impure_dependency_of_core_is_found_at_any_depth() {
        assert_eq!(core_tree("windlass-core v0.1.0 (x)|\nuuid v1.0.0|std\nrandom v1|\n"), []);
        assert_eq!(core_tree("uuid v1.0.0|std,v7\n")[0].what, "core reaches `uuid` with the feature `v7`");
        assert_eq!(core_tree("serde v1|std\ngetrandom v0.3.0|std (*)\n")[0].what, "core reaches `getrandom`");
    }
}
