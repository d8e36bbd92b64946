//! The text files of the repository are true.

use std::path::Path;

use windlass::{Config, Windlass};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The reference, and what is said there without being set.
fn reference() -> String {
    let text = read("windlass.reference.toml");
    let is_key = |words: &str| words.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(words) if is_key(words) || words.starts_with('[') => words,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_configuration_is_valid_and_holds_the_defaults() {
    let config = Config::from_toml(&read("windlass.reference.toml"), None).expect("the reference is valid");
    let default = Config::default();
    assert_eq!(format!("{:?}", config.limits), format!("{:?}", default.limits));
    assert_eq!(config.worker.concurrency, default.worker.concurrency);
    assert_eq!(config.worker.lease, default.worker.lease);
    assert_eq!(config.worker.grace, default.worker.grace);
    assert_eq!(config.worker.max_losses, default.worker.max_losses);
    assert_eq!(config.worker.cancel_grace, default.worker.cancel_grace);
    assert_eq!(config.worker.priorities, default.worker.priorities);
    assert_eq!(config.worker.order, default.worker.order);
    let options = config.defaults.options().expect("they are valid");
    let policy = windlass::core::ExecutionPolicy::default();
    assert_eq!(policy.with(&options, windlass::Timestamp::default()), policy);
    Config::from_toml(&reference(), Some("production")).expect("with the keys that have no default");
}

#[test]
fn the_reference_names_every_key() {
    let reference = reference();
    let sections = [
        ("", "broker, backend, outbox, worker, queues, periodic, defaults, limits"),
        ("[worker]", "concurrency, queues, lease, grace, cancel_grace, max_losses, priorities, order, total, weights"),
        ("[queues.math]", "max_length, overflow"),
        (
            "[defaults]",
            "queue, priority, max_retries, backoff, retry_on, timeout, soft_timeout, expires, status_ttl, result_ttl",
        ),
        ("[limits]", "payload, remember"),
    ];
    for (section, keys) in sections {
        // What the configuration really allows, in its own words.
        let error =
            Config::from_toml(&format!("{section}\nno_such_key = 1"), None).expect_err("unknown key").to_string();
        let allowed = error.split("allowed are ").nth(1).and_then(|rest| rest.split(" (from").next()).map(ticks);
        assert_eq!(allowed.as_deref(), Some(keys), "{error}");
        for key in keys.split(", ") {
            let named = [format!("\n{key} = "), format!("[{key}]"), format!("[worker.{key}]"), format!("[{key}.")];
            assert!(
                named.iter().any(|form| reference.contains(form.as_str())),
                "{key} of {section} is not in the reference"
            );
        }
    }
}

fn ticks(text: &str) -> String {
    text.replace('`', "")
}

#[tokio::test]
async fn every_toml_snippet_of_the_readme_is_valid() {
    let readme = read("README.md");
    let snippets: Vec<&str> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!snippets.is_empty());
    for snippet in snippets {
        Config::from_toml(snippet, None).unwrap_or_else(|error| panic!("{error}\n{snippet}"));
    }
}

#[test]
fn the_code_of_the_readme_is_that_of_quickstart() {
    let quickstart = read("examples/quickstart.rs");
    let code = quickstart.split_once("\n\n").expect("a module doc, then code").1;
    assert!(read("README.md").contains(code), "the first code of README.md differs from examples/quickstart.rs");
    assert!(code.lines().filter(|line| !line.trim().is_empty()).count() <= 20);
}

#[tokio::test]
async fn the_keys_of_the_redis_adapters_are_those_of_the_reference() {
    // An adapter refuses keys that it does not know, before it connects.
    let mut config = Config::from_toml(&read("windlass.reference.toml"), None).expect("the reference is valid");
    config.broker.set_url("redis://127.0.0.1:1/0".into());
    if let Some(backend) = &mut config.backend {
        backend.set_url("redis://127.0.0.1:1/0".into());
    }
    let error = Windlass::builder().config(config).connect().await.expect_err("nothing listens there");
    assert_eq!(error.kind(), windlass::ErrorKind::Unavailable, "{error}");
}
