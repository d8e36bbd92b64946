//! What happens when the server or the way to it fails.

use std::time::{Duration, Instant};

use windlass_backend_redis::{RedisBackend, RedisBackendConfig};
use windlass_core::{
    Backend, ErrorKind, Expected, Heard, NoteChange, NoteKey, Notebook, Place, Record, Retention, SaveOutcome, State,
};
use windlass_testing::servers::{Fault, FaultProxy, RedisServer, free_port};

use crate::support::{
    HOUR, NEVER, PATIENCE, config, connect, id, load, record, registered, start_wait, succeeded, told, until,
    until_async,
};

const SHORT: Duration = Duration::from_millis(300);

/// Settings for a server behind a proxy, with short limits.
fn through(proxy: &FaultProxy) -> RedisBackendConfig {
    let config = RedisBackendConfig::new(proxy.url("redis")).poll(Duration::from_millis(50));
    config.operation_timeout(SHORT).connect_timeout(SHORT)
}

fn pubsub_clients(server: &RedisServer) -> usize {
    server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count()
}

#[tokio::test]
async fn a_restart_of_the_server_loses_no_wait() {
    let mut server = RedisServer::builder().append_only(true).start();
    let [worker, client] = [connect(config(&server)).await, connect(config(&server)).await];
    let waits: Vec<_> = (0..100).map(|number| start_wait(&client, number)).collect();
    registered(&server, 100).await;
    let records: Vec<_> = (0..100).map(succeeded).collect();
    worker.save(&records[..30]).await.unwrap();
    server.restart();
    worker.save(&records[30..60]).await.expect("an idle connection is replaced before it is used");
    server.restart();
    until_async(|| async { worker.save(&records[60..]).await.is_ok() }).await;
    for (wait, saved) in waits.into_iter().zip(&records) {
        assert_eq!(told(wait).await.id, saved.id);
    }
}

#[tokio::test]
async fn waits_outlive_their_connection() {
    let server = RedisServer::start();
    let [worker, client] = [connect(config(&server)).await, connect(config(&server).poll(NEVER)).await];
    for round in 0..5 {
        let [heard, missed] = ["heard", "missed"].map(|name| start_wait(&client, format!("{name}-{round}")));
        registered(&server, 2).await;
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        worker.save(&[succeeded(format!("missed-{round}"))]).await.unwrap();
        told(missed).await;
        until(|| pubsub_clients(&server) == 1).await;
        worker.save(&[succeeded(format!("heard-{round}"))]).await.unwrap();
        told(heard).await;
    }
}

#[tokio::test]
async fn a_server_that_forgets_who_waits_is_polled() {
    let server = RedisServer::start();
    let [worker, client] = [connect(config(&server)).await, connect(config(&server)).await];
    let waits: Vec<_> = (0..20).map(|number| start_wait(&client, number)).collect();
    registered(&server, 20).await;
    let records: Vec<_> = (0..20).map(succeeded).collect();
    server.command(&["FLUSHALL"]);
    worker.save(&records).await.unwrap();
    for wait in waits {
        told(wait).await;
    }
    let wait = start_wait(&client, "next");
    registered(&server, 1).await;
    server.command(&["FLUSHALL"]);
    registered(&server, 1).await;
    worker.save(&[succeeded("next")]).await.unwrap();
    told(wait).await;
}

#[tokio::test]
async fn without_pushes_the_poll_helps() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "-subscribe"]);
    let worker = connect(config(&server)).await;
    let url = format!("redis://mute:pw@127.0.0.1:{}", server.port());
    let client = connect(RedisBackendConfig::new(url).poll(Duration::from_millis(20))).await;
    let wait = start_wait(&client, "a");
    registered(&server, 1).await;
    worker.save(&[succeeded("a")]).await.unwrap();
    told(wait).await;
    assert_eq!(pubsub_clients(&server), 0);
}

#[tokio::test]
async fn nothing_is_registered_before_pushes_are_heard() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "-subscribe"]);
    let url = format!("redis://mute:pw@127.0.0.1:{}", server.port());
    let client = connect(RedisBackendConfig::new(url).poll(NEVER)).await;
    let wait = start_wait(&client, "a");
    until(|| server.command(&["ACL", "LOG"]).lines().filter(|line| *line == "subscribe").count() > 0).await;
    registered(&server, 0).await;
    server.command(&["ACL", "SETUSER", "mute", "allchannels", "+subscribe"]);
    registered(&server, 1).await;
    client.save(&[succeeded("a")]).await.unwrap();
    told(wait).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_reported_in_time_and_waited_for() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    proxy.set(Fault::Refuse);
    let backend = std::sync::Arc::new(RedisBackend::open(through(&proxy)).unwrap());
    let wait = start_wait(&backend, "a");
    for _ in 0..3 {
        let start = Instant::now();
        let error = backend.save(&[succeeded("a")]).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert!(error.to_string().contains(&proxy.addr().to_string()), "{error}");
        assert!(start.elapsed() < SHORT * 10, "{:?}", start.elapsed());
    }
    assert_eq!(backend.load(&[id("a")]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(backend.wait(&id("b"), Duration::ZERO).await.unwrap(), None);
    proxy.set(Fault::Pass);
    until_async(|| async { backend.save(&[succeeded("a")]).await.is_ok() }).await;
    told(wait).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let backend = connect(through(&proxy)).await;
    let wait = start_wait(&backend, "a");
    registered(&server, 1).await;
    proxy.set(Fault::Blackhole);
    let start = Instant::now();
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
    assert!(start.elapsed() < SHORT * 10, "{:?}", start.elapsed());
    let error = backend.load(&[id("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    proxy.set(Fault::Pass);
    until_async(|| async { backend.save(&[succeeded("a")]).await.is_ok() }).await;
    told(wait).await;
}

#[tokio::test]
async fn saving_again_after_a_lost_answer_is_harmless() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let backend = connect(through(&proxy)).await;
    backend.save(&[succeeded("warm")]).await.unwrap();
    proxy.set(Fault::LoseAnswers);
    assert_eq!(backend.save(&[succeeded("a")]).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(server.command(&["EXISTS", "windlass:{results}:s:a"]), "1", "it was applied");
    proxy.set(Fault::Pass);
    let outcome = std::cell::RefCell::new(Vec::new());
    until_async(|| async {
        let saved = backend.save(&[succeeded("a")]).await;
        saved.map(|saved| *outcome.borrow_mut() = saved).is_ok()
    })
    .await;
    assert_eq!(outcome.into_inner(), [SaveOutcome::Saved]);
}

#[tokio::test]
async fn a_demoted_server_is_left_and_found_again() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("before")]).await.unwrap();
    let connection = || server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    let before = connection();
    server.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, true), "{error}");
    assert!(error.message().starts_with("READONLY"), "{error}");
    let ours = before.split("id=").nth(1).and_then(|rest| rest.split(' ').next()).expect("the first client").to_owned();
    until(|| !connection().lines().any(|line| line.starts_with(&format!("id={ours} ")))).await;
    server.command(&["REPLICAOF", "NO", "ONE"]);
    until_async(|| async { backend.save(&[succeeded("a")]).await.is_ok() }).await;
    assert!(load(&backend, "a").await.is_some());
}

#[tokio::test]
async fn a_server_that_cannot_write_its_disk_can_be_read() {
    let server = RedisServer::builder().arg("--dbfilename").arg("taken").start();
    std::fs::create_dir(server.folder().join("taken")).unwrap();
    let before = connect(config(&server)).await;
    before.save(&[succeeded("a")]).await.unwrap();
    server.command(&["CONFIG", "SET", "save", "3600 1"]);
    server.command(&["BGSAVE"]);
    until(|| server.command(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")).await;
    for backend in [before, connect(config(&server)).await] {
        let error = backend.save(&[succeeded("b")]).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, true), "{error}");
        assert!(error.message().starts_with("MISCONF"), "{error}");
        assert!(load(&backend, "a").await.is_some());
        told(start_wait(&backend, "a")).await;
    }
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_away() {
    let builder = RedisServer::builder().append_only(true).arg("--aof-use-rdb-preamble").arg("no");
    // Half a second for 2,500 records, during which it answers LOADING.
    let builder = builder.arg("--key-load-delay").arg("200").arg("--loading-process-events-interval-bytes").arg("1024");
    let mut server = builder.start();
    let patient = connect(config(&server).operation_timeout(2 * PATIENCE)).await;
    let backend = connect(config(&server).operation_timeout(Duration::from_millis(50))).await;
    let records: Vec<_> = (0..2500).map(succeeded).collect();
    until_async(|| async { backend.save(&records).await.is_ok() }).await;
    let restarted = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let mut loads = false;
    while !loads {
        assert!(!restarted.is_finished(), "it was not seen loading");
        match backend.load(&[id(2499)]).await {
            Ok(found) => assert!(found[0].is_some(), "it looked into a store that was not there yet"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                loads = error.message().starts_with("LOADING");
            }
        }
    }
    let mut answer = patient.load(&[id(2499)]).await;
    if answer.as_ref().is_err_and(|error| error.message().starts_with("the connection was lost")) {
        answer = patient.load(&[id(2499)]).await;
    }
    assert!(answer.expect("who has time waits until it is ready")[0].is_some());
    let _server = restarted.await.unwrap();
    until_async(|| async { backend.load(&[id(2499)]).await.is_ok_and(|found| found[0].is_some()) }).await;
}

#[tokio::test]
async fn the_permissions_in_the_readme_suffice() {
    let server = RedisServer::start();
    let readme = include_str!("../../README.md");
    let rule = readme.lines().find_map(|line| line.strip_prefix("ACL SETUSER ")).expect("the readme shows the rule");
    server.command(&[&["ACL", "SETUSER"], &rule.split(' ').collect::<Vec<_>>()[..]].concat());
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let backend = connect(RedisBackendConfig::new(url).poll(Duration::from_millis(20))).await;
    assert!(server.command(&["ACL", "LOG"]).lines().any(|line| line == "info"), "the optional one");
    server.command(&["ACL", "LOG", "RESET"]);
    let apart = Record { result_ttl: Retention::For(Duration::from_secs(60)), ..succeeded("a") };
    let wait = start_wait(&backend, "a");
    registered(&server, 1).await;
    until(|| pubsub_clients(&server) == 1).await;
    let none = Record { status_ttl: Retention::None, ..succeeded("b") };
    backend.save(&[record("b", State::Running, 1), apart]).await.unwrap();
    backend.save(&[none]).await.unwrap();
    told(wait).await;
    assert_eq!(backend.wait(&id("c"), Duration::from_millis(50)).await.unwrap(), None);
    registered(&server, 0).await;
    assert!(load(&backend, "a").await.is_some());
    backend.forget(&[id("a")]).await.unwrap();
    use_the_notebook(&backend).await;
    assert_eq!(server.command(&["ACL", "LOG"]), "", "nothing was denied");
}

/// Every command that the notebook sends.
async fn use_the_notebook(backend: &RedisBackend) {
    let key = |name: &str| NoteKey::new("test", name).unwrap();
    let put = |name, keep| NoteChange { key: key(name), expected: Expected::Anything, value: Some("x".into()), keep };
    let short = Retention::For(Duration::from_millis(1));
    backend.write(&[put("a", short), put("b", Retention::Forever), put("c", HOUR)]).await.unwrap();
    until_async(|| async { backend.read(&[key("a")]).await.unwrap()[0].is_none() }).await;
    assert_eq!(backend.list("test", None, 10).await.unwrap().notes.len(), 2);
    backend.write(&[NoteChange { value: None, ..put("b", HOUR) }]).await.unwrap();
    let place = Place { set: key("s"), place: 1, value: "x".into(), keep: Duration::from_secs(60) };
    assert_eq!(backend.gather(&[place]).await.unwrap(), [1]);
    assert_eq!(backend.gathered(&key("s"), 1..2).await.unwrap(), [Some("x".into())]);
    let mut listener = backend.listen("topic").await.unwrap();
    backend.signal("topic", "x".into()).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::Signal("x".into()));
    drop(listener);
    // After the channel was left.
    let mut other = backend.listen("other").await.unwrap();
    backend.signal("other", "x".into()).await.unwrap();
    assert_eq!(other.next().await.unwrap(), Heard::Signal("x".into()));
}

#[tokio::test]
async fn wrong_credentials_are_said_without_them() {
    let server = RedisServer::builder().password("right-pa55").start();
    let with = |user: &str| RedisBackendConfig::new(format!("redis://{user}@127.0.0.1:{}", server.port()));
    let error = RedisBackend::connect(with("app:wrong-pa55")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Denied, false), "{error}");
    let text = format!("{error:?}");
    assert!(text.contains("WRONGPASS") && text.contains("app") && text.contains(&server.port().to_string()), "{text}");
    assert!(!text.contains("pa55"), "{text}");
    let patient = with(":wrong-pa55").operation_timeout(Duration::from_secs(3600));
    let lazy = std::sync::Arc::new(RedisBackend::open(patient).unwrap());
    let saved = tokio::time::timeout(PATIENCE, async { lazy.save(&[succeeded("a")]).await }).await;
    assert_eq!(saved.expect("at once").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(start_wait(&lazy, "a").await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
    connect(config(&server)).await.save(&[succeeded("a")]).await.unwrap();
    let none = RedisBackendConfig::new(format!("redis://127.0.0.1:{}", server.port()));
    let error = RedisBackend::connect(none).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn connecting_to_nothing_names_the_place() {
    let port = free_port();
    let error =
        RedisBackend::connect(RedisBackendConfig::new(format!("redis://u:pa55@127.0.0.1:{port}"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let text = format!("{error:?}");
    assert!(text.contains(&format!("127.0.0.1:{port}")) && !text.contains("pa55"), "{text}");
    let error = RedisBackend::open(RedisBackendConfig::new("http://u:pa55@h")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
