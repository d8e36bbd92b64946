//! Layers of configuration, and what is refused.

use std::time::Duration;

use windlass::{Config, ErrorKind};

/// The text of the error that this file causes.
fn refused(toml: &str) -> String {
    let error = Config::from_toml(toml, None).expect_err("it must be refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

#[track_caller]
fn names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn defaults_without_any_file() {
    let config = Config::from_toml("", None).expect("an empty file is fine");
    assert_eq!(config.worker.concurrency, 100);
    assert_eq!(config.worker.lease, Duration::from_secs(30));
    assert_eq!(config.broker.url(), "");
}

#[test]
fn a_profile_wins_over_the_file() {
    let toml = "
        [worker]
        concurrency = 5
        lease = '10s'
        [profile.production.worker]
        concurrency = 50
    ";
    let plain = Config::from_toml(toml, None).expect("it is right");
    let production = Config::from_toml(toml, Some("production")).expect("it is right");
    assert_eq!((plain.worker.concurrency, production.worker.concurrency), (5, 50));
    assert_eq!(production.worker.lease, Duration::from_secs(10));
}

#[test]
fn an_unknown_profile_is_refused_with_the_known_ones() {
    let error = Config::from_toml("[profile.production.worker]\nconcurrency = 1", Some("prod")).expect_err("unknown");
    names(&error.to_string(), &["WINDLASS_PROFILE", "\"prod\"", "production"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_allowed_ones() {
    names(&refused("[worker]\nconcurency = 5"), &["unknown key", "concurency", "concurrency, queues, lease", "from"]);
    names(&refused("[wroker]\nx = 1"), &["wroker", "broker, backend, outbox, worker, queues"]);
}

#[test]
fn a_wrong_type_is_refused_with_key_and_value() {
    names(&refused("[worker]\nconcurrency = 'many'"), &["worker.concurrency", "many", "from"]);
    names(&refused("[worker]\nlease = 'soon'"), &["worker.lease", "soon", "30s or 1h30m"]);
    names(&refused("[worker]\nlease = -5"), &["worker.lease", "-5", "not negative"]);
}

#[test]
fn a_value_out_of_its_limits_is_refused_with_the_limit() {
    names(&refused("[worker]\nconcurrency = 0"), &["worker.concurrency", "0", "1 to 10000", "TOML"]);
    names(&refused("[worker]\nlease = '1ms'"), &["worker.lease", "1ms", "100ms"]);
    names(&refused("[worker.queues]\nmail = 0"), &["worker.queues", "0", "mail"]);
    names(&refused("[worker.queues]\n'a b' = 1"), &["worker.queues", "a b", "byte 1"]);
    names(&refused("[limits]\npayload = 99999999"), &["limits.payload", "99999999", "16777216"]);
    names(&refused("[defaults]\nqueue = ''"), &["defaults.queue", "empty"]);
    names(&refused("[defaults]\npriority = 'urgent'"), &["defaults.priority", "urgent", "low, normal, high, critical"]);
    names(&refused("[defaults]\nbackoff = 'often'"), &["defaults.backoff", "often", "fixed 5s"]);
    assert!(Config::from_toml("[defaults]\nbackoff = 'exponential 1s 3 1h jitter 0.5'", None).is_ok());
    names(&refused("[defaults]\nbackoff = 'fixed 1s jitter 2'"), &["defaults.backoff", "2", "0 to 1"]);
    names(&refused("[defaults]\nresult_ttl = 'long'"), &["defaults.result_ttl", "long", "forever"]);
    names(&refused("[defaults]\nretry_on = 'luck'"), &["defaults.retry_on", "luck", "errors, timeouts, panics"]);
}

#[test]
fn a_password_is_not_printed() {
    let config = Config::from_toml("[broker]\nurl = 'redis://me:secret@host'", None).expect("it is right");
    let debug = format!("{config:?}");
    assert!(!debug.contains("secret"), "{debug}");
}

#[test]
fn a_url_can_come_from_a_variable() {
    // PATH is set wherever tests run.
    let config = Config::from_toml("[broker]\nurl = 'env:PATH'", None).expect("it is set");
    assert_eq!(Some(config.broker.url().to_owned()), std::env::var("PATH").ok());
    names(&refused("[broker]\nurl = 'env:WINDLASS_TEST_NOT_SET'"), &["broker.url", "WINDLASS_TEST_NOT_SET", "not set"]);
}

/// Not a test of its own: what [`environment`] runs with variables and a folder of its own.
#[test]
fn load_and_print() {
    if std::env::var_os("LOAD_AND_PRINT").is_some() {
        match Config::load() {
            Ok(config) => {
                println!("loaded: {} {:?} {}", config.worker.concurrency, config.worker.lease, config.broker.url())
            }
            Err(error) => println!("refused: {error}"),
        }
    }
}

/// What [`Config::load`] says in a folder with this `windlass.toml`, with these variables.
fn environment(file: Option<&str>, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(file) = file {
        std::fs::write(folder.path().join("windlass.toml"), file).expect("there is room");
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this binary has a path"))
        .args(["--exact", "config::load_and_print", "--nocapture"])
        .current_dir(folder.path())
        .env("LOAD_AND_PRINT", "1")
        .env_remove("WINDLASS_CONFIG")
        .envs(variables.iter().copied())
        .output()
        .expect("this binary can be started");
    let text = String::from_utf8(output.stdout).expect("it is a text");
    let line = text.lines().find_map(|line| line.split_once("loaded: ").or(line.split_once("refused: ")));
    line.unwrap_or_else(|| panic!("it says nothing: {text}")).1.to_owned()
}

#[test]
fn variables_win_over_the_file_and_are_enough_without_one() {
    let file = Some("[worker]\nconcurrency = 5\nlease = '10s'\n[broker]\nurl = 'redis://a'");
    let variables = [("WINDLASS_WORKER__CONCURRENCY", "7"), ("WINDLASS_BROKER__URL", "redis://b")];
    assert_eq!(environment(file, &variables), "7 10s redis://b");
    assert_eq!(environment(None, &variables), "7 30s redis://b");
}

#[test]
fn a_wrong_variable_is_named() {
    names(
        &environment(None, &[("WINDLASS_WORKER__CONCURRENCY", "0")]),
        &["worker.concurrency", "0", "1 to 10000", "WINDLASS_WORKER__CONCURRENCY"],
    );
    names(&environment(None, &[("WINDLASS_BROKR__URL", "x")]), &["unknown key brokr", "from: WINDLASS_BROKR__URL"]);
    names(&environment(None, &[("WINDLASS_WORKER_LEASE", "5s")]), &["worker_lease", "two underscores"]);
    names(&environment(Some("[worker"), &[]), &["windlass.toml", "line 1"]);
    names(
        &environment(None, &[("WINDLASS_CONFIG", "/nowhere.toml")]),
        &["WINDLASS_CONFIG", "/nowhere.toml", "not there"],
    );
}
