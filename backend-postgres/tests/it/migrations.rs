//! The tables: made once, checked, printed.

use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use windlass_backend_postgres::{PostgresBackend, PostgresBackendConfig, migrations_sql};
use windlass_core::{Backend, ErrorKind, Expected, Heard, NoteChange, NoteKey, Notebook, Place};
use windlass_testing::servers::PostgresServer;

use crate::support::{Database, HOUR, at, config, connect, load, over, start_wait, succeeded, told};

const TABLES: &str = "SELECT string_agg(version || ' ' || name, ',' ORDER BY version) FROM windlass.migration";

const ALL: &str = "1 results,2 outbox,3 notebook,4 outbox_limit";

/// The script that makes the tables of an earlier version.
fn earlier(version: usize) -> String {
    let script = migrations_sql("windlass").expect("a valid name");
    let steps: Vec<&str> = script.split("\nDO $windlass$ BEGIN\nIF NOT EXISTS").collect();
    steps[..=version].join("\nDO $windlass$ BEGIN\nIF NOT EXISTS") + "\nCOMMIT;"
}

/// The version of the tables that this crate works with.
fn version(server: &Database) -> i32 {
    server.sql("SELECT max(version) FROM windlass.migration").parse().expect("a number")
}

#[tokio::test]
async fn several_processes_make_the_tables_at_once() {
    const CHILD: &str = "WINDLASS_MIGRATE";
    const NAME: &str = "migrations::several_processes_make_the_tables_at_once";
    if let Some(url) = std::env::var_os(CHILD) {
        let url = url.into_string().unwrap();
        let backends = (0..4).map(|_| PostgresBackend::connect(PostgresBackendConfig::new(&url)));
        for backend in backends.map(tokio::spawn).collect::<Vec<_>>() {
            backend.await.unwrap().unwrap();
        }
        return;
    }
    // The strictest default, under which a transaction sees nothing of what others do meanwhile.
    let server = Database::new();
    server.set("default_transaction_isolation = serializable");
    let program = std::env::current_exe().unwrap();
    let start = |_| {
        let mut command = Command::new(&program);
        command.args([NAME, "--exact"]).env(CHILD, server.url()).stdout(Stdio::null()).spawn().unwrap()
    };
    // From nothing, and from the tables of before.
    for tables in [None, Some(earlier(2))] {
        if let Some(script) = tables {
            server.sql("DROP SCHEMA windlass CASCADE");
            server.sql(&script);
        }
        for mut child in (0..4).map(start).collect::<Vec<_>>() {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(server.sql(TABLES), ALL);
    }
}

#[tokio::test]
async fn what_is_in_the_tables_outlives_their_next_version() {
    let base = Database::new();
    base.sql(&earlier(2));
    assert_eq!(base.sql(TABLES), "1 results,2 outbox");
    base.sql(
        "INSERT INTO windlass.result (id, token, state, attempt, at, expires_at, result)
            SELECT 'old-' || n, n, 'succeeded', 1, 1, 'infinity', '5' FROM generate_series(1, 1000) AS n;
        INSERT INTO windlass.outbox (id, queue, body) VALUES ('waits', 'q', 'x')",
    );
    let error = PostgresBackend::connect(config(&base).migrate(false)).await.unwrap_err();
    assert!(error.message().contains("have version 2; this program needs 4: connect once with"), "{error}");
    let backend = connect(config(&base)).await;
    assert_eq!(base.sql(TABLES), ALL);
    let old = load(&backend, "old-7").await.unwrap();
    assert_eq!((old.token.0, old.result.as_deref()), (7, Some(&b"5"[..])));
    assert_eq!(base.sql("SELECT count(*) FROM windlass.outbox"), "1");
    backend.save(&[succeeded("new")]).await.unwrap();
    let notes = backend.notebook().expect("it has one");
    assert!(notes.list("test", None, 10).await.unwrap().notes.is_empty());
}

#[tokio::test]
async fn the_printed_script_makes_the_tables_and_can_be_run_again() {
    let server = Database::new();
    let script = migrations_sql("windlass").unwrap();
    server.sql(&script);
    server.sql(&script);
    assert_eq!(server.sql(TABLES), ALL);
    let backend = connect(config(&server).migrate(false)).await;
    backend.save(&[succeeded("a")]).await.unwrap();
    let error = migrations_sql("a\"b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn schemas_are_apart() {
    let server = Database::new();
    // A word of SQL is a name like any other.
    let (one, two) = (connect(config(&server)).await, connect(config(&server).schema("order")).await);
    one.save(&[succeeded("a")]).await.unwrap();
    assert!(load(&one, "a").await.is_some() && load(&two, "a").await.is_none());
    two.save(&[succeeded("b")]).await.unwrap();
    assert_eq!(server.sql("SELECT id FROM \"order\".result"), "b");
}

#[tokio::test]
async fn fault_100_tables_of_another_version_are_refused_with_both_versions_and_the_cure() {
    let server = Database::new();
    let careful = || PostgresBackend::connect(config(&server).migrate(false));
    let error = careful().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.message().starts_with("the schema \"windlass\" holds no tables of windlass; version "), "{error}");
    assert!(
        error
            .message()
            .ends_with("connect once with backend.migrate = true, or run the SQL that migrations_sql prints")
    );

    connect(config(&server)).await;
    careful().await.unwrap();
    let ours = version(&server);
    server.sql(&format!("DELETE FROM windlass.migration WHERE version = {ours}"));
    let error = careful().await.unwrap_err();
    let expected =
        format!("the tables in the schema \"windlass\" have version {}; this program needs {ours}", ours - 1);
    assert!(error.message().starts_with(&expected), "{error}");

    server.sql("INSERT INTO windlass.migration (version, name) VALUES (99, 'later')");
    for config in [config(&server), config(&server).migrate(false)] {
        let error = PostgresBackend::connect(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let expected = format!("have version 99; this program needs {ours}: update the program");
        assert!(error.message().ends_with(&expected), "{error}");
    }
}

#[tokio::test]
async fn a_backend_that_was_opened_only_can_make_its_tables() {
    let server = Database::new();
    let backend = PostgresBackend::open(config(&server)).unwrap();
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.message().contains("the tables of windlass are missing"), "{error}");
    backend.ready().await.unwrap();
    backend.save(&[succeeded("a")]).await.unwrap();
}

#[tokio::test]
async fn the_permissions_in_the_readme_suffice() {
    let server = PostgresServer::start();
    server.sql(&migrations_sql("windlass").unwrap());
    let readme = include_str!("../../README.md");
    let grants: Vec<&str> = readme.lines().filter(|line| line.starts_with("GRANT ")).collect();
    assert!(!grants.is_empty(), "the readme shows them");
    server.sql("CREATE ROLE app LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC");
    server.sql(&grants.join("\n"));
    let url = server.url().replace("postgres@", "app@");
    let backend = connect(at(url, config(&server))).await;
    let wait = start_wait(&backend, "a");
    crate::support::listening(&server, 1).await;
    let unkept = windlass_core::Record { status_ttl: windlass_core::Retention::None, ..succeeded("b") };
    backend.save(&[succeeded("a"), unkept]).await.unwrap();
    told(wait).await;
    backend.forget(&[crate::support::id("a")]).await.unwrap();
    assert!(load(&backend, "a").await.is_none());
    let key = NoteKey::new("test", "a").unwrap();
    let note = NoteChange { key: key.clone(), expected: Expected::Absent, value: Some("1".into()), keep: HOUR };
    backend.write(&[note.clone(), NoteChange { value: None, expected: Expected::Anything, ..note }]).await.unwrap();
    let place = Place { set: key.clone(), place: 0, value: "1".into(), keep: Duration::from_secs(60) };
    for size in [1, 1] {
        assert_eq!(backend.gather(std::slice::from_ref(&place)).await.unwrap(), [size]);
        server.sql("UPDATE windlass.note_set SET expires_at = now()");
    }
    assert_eq!(backend.gathered(&key, 0..1).await.unwrap(), [None]);
    let mut listener = backend.listen("topic").await.unwrap();
    backend.signal("topic", "word".into()).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::Signal("word".into()));
}

#[tokio::test]
async fn who_may_not_make_tables_is_told() {
    let server = PostgresServer::start();
    server.sql("CREATE ROLE app LOGIN; REVOKE CREATE ON DATABASE postgres FROM PUBLIC");
    let url = server.url().replace("postgres@", "app@");
    let error = PostgresBackend::connect(at(url, config(&server))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Denied, false), "{error}");
    assert!(error.to_string().contains("sqlstate: 42501"), "{error}");
}

#[tokio::test]
async fn a_pool_of_the_application_keeps_its_own_migrations() {
    let server = Database::new();
    let options = PgConnectOptions::from_str(&server.url()).unwrap();
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let held = pool.acquire().await.unwrap();
    let backend = over(pool.clone(), config(&server)).await;
    drop(held);
    backend.save(&[succeeded("a")]).await.unwrap();
    assert!(load(&backend, "a").await.is_some());
    assert_eq!(server.sql("SELECT to_regclass('_sqlx_migrations') IS NULL"), "t");
    backend.close().await;
    assert!(!pool.is_closed(), "it belongs to the application");
}
