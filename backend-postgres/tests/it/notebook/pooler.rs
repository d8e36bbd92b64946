//! Behind a proxy that gives each transaction to another connection.

use std::time::{Duration, Instant};

use windlass_core::{Expected, Heard, Notebook, WriteOutcome};

use super::{at, hear, key, listen, put, read, remove, version, write};
use crate::pooler::start;
use crate::support::{Database, LISTENERS, at as at_url, config, connect, until};

#[tokio::test]
async fn fault_98_every_call_works_and_who_listens_looks_at_intervals() {
    let base = Database::new();
    let proxy = start(base.port()).await;
    let poll = Duration::from_millis(50);
    let settings = at_url(base.at((proxy.ip(), proxy.port())), config(&base)).pooler(true).poll(poll);
    let backend = connect(settings.cleanup(Duration::from_millis(20))).await;
    let mut listener = listen(&backend, "topic").await;
    for round in 0..10_u32 {
        let new = version(&backend, put("a", Expected::Absent, "1")).await;
        assert_eq!(write(&backend, put("a", Expected::Absent, "2")).await, WriteOutcome::Conflict);
        let new = version(&backend, put("a", Expected::Version(new), "2")).await;
        assert_eq!(read(&backend, "a").await.unwrap().version, new);
        assert_eq!(write(&backend, remove("a", Expected::Version(new))).await, WriteOutcome::Written(0));
        assert_eq!(backend.gather(&[at("set", round, "1")]).await.unwrap(), [round + 1]);
    }
    assert_eq!(backend.gathered(&key("set"), 0..10).await.unwrap().into_iter().flatten().count(), 10);
    let start = Instant::now();
    for _ in 0..4 {
        assert_eq!(hear(&mut listener).await, Heard::Missed);
    }
    // The first may have been due long ago.
    assert!(start.elapsed() >= poll * 3, "{:?}", start.elapsed());
    assert_eq!(base.sql(LISTENERS), "0");
    assert_eq!(base.sql("SELECT count(*) FROM windlass.topic_listener"), "0");
    let left = "SELECT count(*) FROM pg_stat_activity
        WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    until(|| base.sql(left) == "0").await;
}

#[tokio::test]
async fn a_signal_from_behind_a_pooler_is_heard_by_who_is_not() {
    let base = Database::new();
    let proxy = start(base.port()).await;
    let behind = connect(at_url(base.at((proxy.ip(), proxy.port())), config(&base)).pooler(true)).await;
    let before = connect(config(&base)).await;
    let mut listener = listen(&before, "topic").await;
    behind.signal("topic", "word".into()).await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Signal("word".into()));
}

#[tokio::test]
async fn a_listener_that_is_asked_again_and_again_is_still_told_to_look() {
    let base = Database::new();
    let backend = connect(config(&base).pooler(true).poll(Duration::from_millis(200))).await;
    let mut listener = listen(&backend, "topic").await;
    let patience = Instant::now() + crate::support::PATIENCE;
    // As in a `select!` with something that is ready more often.
    while tokio::time::timeout(Duration::from_millis(3), listener.next()).await.is_err() {
        assert!(Instant::now() < patience, "it is never told");
    }
}
