//! Signals: one connection for all who listen, and what happens when it breaks.

use std::time::Duration;

use bytes::Bytes;
use windlass_backend_redis::{RedisBackend, RedisBackendConfig};
use windlass_core::{Backend, ErrorKind, Heard, Listener, Notebook};
use windlass_testing::servers::{Fault, FaultProxy, RedisServer};

use crate::support::{NEVER, PATIENCE, config, connect, registered, start_wait, succeeded, told, until, until_async};

fn channels(server: &RedisServer) -> usize {
    server.command(&["PUBSUB", "CHANNELS", "*:signal:*"]).lines().count()
}

fn pubsub_clients(server: &RedisServer) -> usize {
    server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count()
}

fn clients(server: &RedisServer) -> usize {
    server
        .command(&["CLIENT", "LIST"])
        .lines()
        .filter(|line| line.contains("lib-name=windlass") || line.contains(" resp=3"))
        .count()
}

async fn heard(listener: &mut Box<dyn Listener>) -> Heard {
    tokio::time::timeout(PATIENCE, listener.next()).await.expect("in time").expect("no error")
}

fn signal(text: &'static str) -> Heard {
    Heard::Signal(Bytes::from_static(text.as_bytes()))
}

async fn send(backend: &RedisBackend, topic: &str, text: &'static str) {
    backend.signal(topic, Bytes::from_static(text.as_bytes())).await.unwrap();
}

#[tokio::test]
async fn everybody_who_listens_hears_and_nobody_else() {
    let server = RedisServer::start();
    let [sender, other] = [connect(config(&server)).await, connect(config(&server)).await];
    let mut listeners =
        [sender.listen("a").await.unwrap(), other.listen("a").await.unwrap(), other.listen("a").await.unwrap()];
    let mut deaf = other.listen("b").await.unwrap();
    send(&sender, "a", "one").await;
    sender.signal("a", (0..=255).collect()).await.unwrap();
    for listener in &mut listeners {
        assert_eq!(heard(listener).await, signal("one"));
        assert_eq!(heard(listener).await, Heard::Signal((0..=255).collect()));
    }
    send(&sender, "b", "other").await;
    assert_eq!(heard(&mut deaf).await, signal("other"));
}

#[tokio::test]
async fn who_never_listens_opens_no_connection_and_all_who_do_share_one() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    send(&backend, "a", "nobody").await;
    assert_eq!((clients(&server), pubsub_clients(&server)), (1, 0));
    let mut listeners = Vec::new();
    for number in 0..20 {
        listeners.push(backend.listen(&format!("topic-{number}")).await.unwrap());
    }
    listeners.push(backend.listen("topic-0").await.unwrap());
    let wait = start_wait(&backend, "task");
    registered(&server, 1).await;
    assert_eq!((clients(&server), pubsub_clients(&server)), (2, 1), "waits and listeners share one");
    assert_eq!(channels(&server), 20);
    backend.save(&[succeeded("task")]).await.unwrap();
    told(wait).await;
    // What nobody listens to any more is left.
    listeners.truncate(1);
    until(|| channels(&server) == 1).await;
    send(&backend, "topic-0", "still").await;
    assert_eq!(heard(&mut listeners[0]).await, signal("still"));
    listeners.clear();
    until(|| channels(&server) == 0).await;
    // And can be listened to again.
    let mut again = backend.listen("topic-0").await.unwrap();
    send(&backend, "topic-0", "again").await;
    assert_eq!(heard(&mut again).await, signal("again"));
}

#[tokio::test]
async fn a_topic_that_is_left_and_taken_again_is_heard() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    for _ in 0..200 {
        let mut listener = backend.listen("a").await.unwrap();
        send(&backend, "a", "here").await;
        assert_eq!(heard(&mut listener).await, signal("here"));
    }
}

#[tokio::test]
async fn a_lost_connection_is_said_and_replaced() {
    let server = RedisServer::start();
    let [sender, other] = [connect(config(&server)).await, connect(config(&server).poll(NEVER)).await];
    let mut listener = other.listen("a").await.unwrap();
    let mut second = other.listen("b").await.unwrap();
    for _ in 0..3 {
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        send(&sender, "a", "into the void").await;
        assert_eq!(heard(&mut listener).await, Heard::Missed);
        assert_eq!(heard(&mut second).await, Heard::Missed);
        send(&sender, "a", "back").await;
        assert_eq!(heard(&mut listener).await, signal("back"));
    }
    let mut newcomer = other.listen("c").await.unwrap();
    send(&sender, "c", "first").await;
    assert_eq!(heard(&mut newcomer).await, signal("first"), "who came later has missed nothing");
}

#[tokio::test]
async fn a_dead_connection_is_noticed_by_its_silence() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let short = Duration::from_millis(200);
    let settings = RedisBackendConfig::new(proxy.url("redis")).poll(Duration::from_millis(50));
    let backend = connect(settings.operation_timeout(short).connect_timeout(short)).await;
    let mut listener = backend.listen("a").await.unwrap();
    let opened = proxy.accepted();
    proxy.set(Fault::Blackhole);
    until(|| proxy.accepted() > opened).await;
    proxy.set(Fault::Pass);
    assert_eq!(heard(&mut listener).await, Heard::Missed);
    let sender = connect(config(&server)).await;
    send(&sender, "a", "back").await;
    assert_eq!(heard(&mut listener).await, signal("back"));
}

#[tokio::test]
async fn who_is_too_slow_is_told_that_it_missed_some() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let mut slow = backend.listen("a").await.unwrap();
    let mut fast = backend.listen("a").await.unwrap();
    for number in 0..1000_u32 {
        backend.signal("a", number.to_string().into()).await.unwrap();
        assert_eq!(heard(&mut fast).await, Heard::Signal(number.to_string().into()));
    }
    assert_eq!(heard(&mut slow).await, Heard::Missed);
    let mut last = 0;
    while last < 999 {
        let Heard::Signal(text) = heard(&mut slow).await else { panic!("it was told once") };
        let number: u32 = String::from_utf8(text.to_vec()).unwrap().parse().unwrap();
        assert!(number > last);
        last = number;
    }
}

#[tokio::test]
async fn listening_to_a_server_that_is_away_ends_in_time() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    proxy.set(Fault::Refuse);
    let short = Duration::from_millis(200);
    let settings = RedisBackendConfig::new(proxy.url("redis")).operation_timeout(short).connect_timeout(short);
    let backend = RedisBackend::open(settings).unwrap();
    let error = tokio::time::timeout(PATIENCE, backend.listen("a")).await.expect("in time").unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains(&proxy.addr().to_string()), "{error}");
    assert_eq!(backend.signal("a", Bytes::new()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    proxy.set(Fault::Pass);
    let mut listener = loop {
        if let Ok(listener) = backend.listen("a").await {
            break listener;
        }
    };
    until_async(|| async { backend.signal("a", "there".into()).await.is_ok() }).await;
    assert!(matches!(heard(&mut listener).await, Heard::Signal(text) if text == "there"));
}

#[tokio::test]
async fn a_channel_that_is_denied_keeps_nobody_else_from_hearing() {
    let server = RedisServer::start();
    // As in the readme of a version that had no signals.
    server.command(&[
        "ACL",
        "SETUSER",
        "old",
        "on",
        ">pw",
        "~*",
        "+@all",
        "resetchannels",
        "&windlass:{results}:inbox:*",
    ]);
    let url = format!("redis://old:pw@127.0.0.1:{}", server.port());
    let backend = connect(RedisBackendConfig::new(url).poll(NEVER)).await;
    let error = backend.listen("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Denied, false), "{error}");
    assert!(error.to_string().contains("signal:a"), "{error}");
    let wait = start_wait(&backend, "task");
    registered(&server, 1).await;
    connect(config(&server)).await.save(&[succeeded("task")]).await.unwrap();
    told(wait).await;
    server.command(&["ACL", "SETUSER", "old", "&windlass:{results}:signal:*"]);
    let mut listener = backend.listen("a").await.unwrap();
    send(&backend, "a", "now").await;
    assert_eq!(heard(&mut listener).await, signal("now"));
}

#[tokio::test]
async fn dropping_the_backend_ends_its_listeners() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let mut listener = backend.listen("a").await.unwrap();
    drop(backend);
    let error = tokio::time::timeout(PATIENCE, listener.next()).await.expect("in time").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    until(|| pubsub_clients(&server) == 0).await;
}
