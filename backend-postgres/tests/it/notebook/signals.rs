//! Signals: over the connection that listens, as long as it is needed, and with word of what was missed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::PgListener;
use windlass_backend_postgres::PostgresBackend;
use windlass_core::notebook::SIGNAL_BYTES;
use windlass_core::{Backend, ErrorKind, Heard, Listener, Notebook};
use windlass_testing::servers::PostgresServer;

use super::{hear, listen};
use crate::support::{Database, LISTENERS, NEVER, config, connect, start_wait, succeeded, told, until};

const TOPICS: &str = "SELECT count(*) FROM windlass.topic_listener WHERE until > now()";

#[tokio::test]
async fn nothing_is_sent_for_nobody() {
    let base = Database::new();
    let (sender, receiver) = (connect(config(&base)).await, connect(config(&base)).await);
    let mut all = PgListener::connect(&base.url()).await.unwrap();
    all.listen_all(["windlass_signal", "windlass_result"]).await.unwrap();
    sender.signal("topic", "nobody".into()).await.unwrap();
    let mut listener = listen(&receiver, "topic").await;
    sender.signal("other", "nobody".into()).await.unwrap();
    // Who listens to signals does not make the ends of tasks be announced.
    sender.save(&[succeeded("a")]).await.unwrap();
    sender.signal("topic", "somebody".into()).await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Signal("somebody".into()));
    let first = all.recv().await.unwrap();
    assert_eq!((first.channel(), first.payload()), ("windlass_signal", "topic c29tZWJvZHk"));
}

#[tokio::test]
async fn the_longest_signal_on_the_longest_topic_fits_into_a_notification() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    let topic = "t".repeat(255);
    let mut listener = listen(&backend, &topic).await;
    let text: Bytes = (0..SIGNAL_BYTES).map(|n| (n % 251) as u8).collect();
    backend.signal(&topic, text.clone()).await.unwrap();
    assert!(hear(&mut listener).await == Heard::Signal(text));
}

#[tokio::test]
async fn the_connection_is_there_while_somebody_waits_or_listens() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    backend.signal("topic", "word".into()).await.unwrap();
    assert_eq!(base.sql(LISTENERS), "0");
    for round in 0..2 {
        let (one, other) = (listen(&backend, "one").await, listen(&backend, "other").await);
        let wait = start_wait(&backend, format!("{round}"));
        crate::support::listening(&base, 1).await;
        drop((one, other));
        backend.save(&[succeeded(round)]).await.unwrap();
        told(wait).await;
        until(|| base.sql(LISTENERS) == "0").await;
    }
    let mut listener = listen(&backend, "topic").await;
    backend.signal("topic", "again".into()).await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Signal("again".into()));
}

/// What is heard next and is not that.
async fn hear_but(listener: &mut Box<dyn Listener>, but: &str) -> Heard {
    loop {
        let heard = hear(listener).await;
        if heard != Heard::Signal(Bytes::copy_from_slice(but.as_bytes())) {
            return heard;
        }
    }
}

#[tokio::test]
async fn fault_97_who_listened_over_a_connection_that_was_killed_is_told_and_hears_on() {
    let base = Database::new();
    let (backend, sender) = (connect(config(&base).poll(NEVER)).await, connect(config(&base)).await);
    let mut listener = listen(&backend, "topic").await;
    for round in 0..3 {
        assert_eq!(base.sql(LISTENERS), "1");
        base.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE query LIKE 'LISTEN%' AND datname = current_database()",
        );
        sender.signal("topic", "lost?".into()).await.unwrap();
        // It can come over the old connection or the new one, or be lost; that is not known.
        assert_eq!(hear_but(&mut listener, "lost?").await, Heard::Missed);
        let word = Bytes::from(format!("{round}"));
        sender.signal("topic", word.clone()).await.unwrap();
        assert_eq!(hear_but(&mut listener, "lost?").await, Heard::Signal(word));
    }
}

#[tokio::test]
async fn fault_88_a_server_that_crashed_has_forgotten_who_listens_and_is_told_again() {
    let mut server = PostgresServer::start();
    let backend = connect(config(&server).poll(NEVER).operation_timeout(Duration::from_secs(1))).await;
    let mut listener = listen(&backend, "topic").await;
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let server = server.await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Missed);
    assert_eq!(server.sql(TOPICS), "1");
    backend.signal("topic", "word".into()).await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Signal("word".into()));
}

#[tokio::test]
async fn who_is_far_behind_is_told_that_he_missed_something() {
    let base = Database::new();
    let backend = connect(config(&base)).await;
    let (mut slow, mut quick) = (listen(&backend, "topic").await, listen(&backend, "topic").await);
    for number in 0..400 {
        backend.signal("topic", number.to_string().into()).await.unwrap();
        assert_eq!(hear(&mut quick).await, Heard::Signal(number.to_string().into()));
    }
    assert_eq!(hear(&mut slow).await, Heard::Missed);
    let Heard::Signal(next) = hear(&mut slow).await else { panic!("told once") };
    assert!(String::from_utf8_lossy(&next).parse::<u32>().unwrap() > 200, "the latest are kept");
}

#[tokio::test]
async fn without_a_server_nobody_is_told_that_he_listens() {
    let port = windlass_testing::servers::free_port();
    let nowhere = windlass_backend_postgres::PostgresBackendConfig::new(format!("postgres://u@127.0.0.1:{port}/d"));
    let backend = PostgresBackend::open(nowhere.operation_timeout(Duration::from_millis(300))).unwrap();
    let error = backend.listen("topic").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    let error = backend.signal("topic", "word".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_listener_ends_with_its_backend() {
    let base = Database::new();
    for pooler in [false, true] {
        let backend = connect(config(&base).pooler(pooler).poll(NEVER)).await;
        let mut listener = listen(&backend, "topic").await;
        drop(Arc::into_inner(backend).expect("nobody else has it"));
        let ended = tokio::time::timeout(crate::support::PATIENCE, listener.next()).await.expect("it ends");
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
    }
}
