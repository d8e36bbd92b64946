//! What is stored, and in how many calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windlass_core::{ErrorKind, Expected, Note, Notebook, Place, Retention, WriteOutcome};
use windlass_testing::servers::RedisServer;

use super::*;
use crate::support::{HOUR, calls, config, connect, pttl};

#[tokio::test]
async fn versions_grow_in_a_batch_across_removal_and_without_the_counter() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let anything = |value: &'static str| put("a", Expected::Anything, value, HOUR);
    let outcomes = backend.write(&[anything("1"), anything("2"), remove("a"), anything("3")]).await.unwrap();
    let [first, second, removed, third] = outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(removed, WriteOutcome::Written(0));
    assert!(version(first) < version(second) && version(second) < version(third), "{outcomes:?}");
    assert_eq!(read_one(&backend, "a").await, Some(Note { version: version(third), value: "3".into() }));
    // A clock that stands still, a day ago.
    let future = version(third) + 1_000_000_000;
    server.command(&["SET", "windlass:{results}:versions", &future.to_string()]);
    assert_eq!(version(write_one(&backend, anything("4")).await), future + 1);
    write_one(&backend, remove("a")).await;
    assert_eq!(version(write_one(&backend, anything("5")).await), future + 2);
    server.command(&["DEL", "windlass:{results}:versions"]);
    assert_eq!(version(write_one(&backend, anything("6")).await), future + 3, "what is there counts too");
    assert!((1..=24 * 3_600_000).contains(&pttl(&server, "windlass:{results}:versions")));
}

#[tokio::test]
async fn a_batch_sees_its_own_changes() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let absent = |name: &str| put(name, Expected::Absent, "new", HOUR);
    let stale = put("a", Expected::Version(1), "stale", HOUR);
    let none = put("b", Expected::Anything, "none", Retention::None);
    let outcomes = backend.write(&[absent("a"), absent("a"), stale, remove("a"), absent("a"), none]).await.unwrap();
    let told: Vec<_> = outcomes.iter().map(|outcome| matches!(outcome, WriteOutcome::Written(_))).collect();
    assert_eq!(told, [true, false, false, true, true, true], "{outcomes:?}");
    assert_eq!(read_one(&backend, "a").await.map(|note| note.value), Some("new".into()));
    assert_eq!(names(&backend, 10).await, (vec!["a".to_owned()], None));
}

#[tokio::test]
async fn values_are_kept_byte_by_byte() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let every: Bytes = (0..=255).chain([10, 10]).collect();
    write_one(&backend, put("a", Expected::Absent, every.clone(), HOUR)).await;
    write_one(&backend, put("empty", Expected::Absent, Bytes::new(), HOUR)).await;
    let large: Bytes = vec![7; 16 * 1024 * 1024].into();
    write_one(&backend, put("large", Expected::Absent, large.clone(), HOUR)).await;
    let notes = backend.read(&["a", "empty", "none", "large"].map(key)).await.unwrap();
    let values: Vec<_> = notes.into_iter().map(|note| note.map(|note| note.value)).collect();
    assert_eq!(values, [Some(every.clone()), Some(Bytes::new()), None, Some(large)]);
    let filled = Place { set: key("s"), place: 999_999, value: every.clone(), keep: Duration::from_secs(9) };
    assert_eq!(backend.gather(&[filled]).await.unwrap(), [1]);
    assert_eq!(backend.gathered(&key("s"), 999_998..1_000_000).await.unwrap(), [None, Some(every)]);
}

#[tokio::test]
async fn a_batch_is_one_call_and_pages_are_few() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let changes: Vec<_> = (0..1000).map(|n| put(format!("{n:04}"), Expected::Absent, "x", HOUR)).collect();
    let places: Vec<_> = (0..1000).map(|n| place("s", n, Duration::from_secs(60))).collect();
    // The server learns the scripts.
    write_one(&backend, put("z", Expected::Absent, "x", HOUR)).await;
    backend.gather(&[place("t", 0, Duration::from_secs(60))]).await.unwrap();
    server.command(&["CONFIG", "RESETSTAT"]);
    backend.write(&changes).await.unwrap();
    assert_eq!(backend.gather(&places).await.unwrap(), (1..=1000).collect::<Vec<u32>>());
    assert_eq!(calls(&server, "evalsha"), 2);
    assert_eq!(backend.read(&(0..1000).map(|n| key(format!("{n:04}"))).collect::<Vec<_>>()).await.unwrap().len(), 1000);
    assert_eq!(calls(&server, "mget"), 1);
    backend.gathered(&key("s"), 0..1000).await.unwrap();
    assert_eq!(calls(&server, "hmget"), 1);
    let (found, next) = names(&backend, 1000).await;
    assert_eq!((found.len(), next.as_deref()), (1000, Some("0999")));
    assert!(calls(&server, "zrangebylex") <= 4, "{} steps", calls(&server, "zrangebylex"));
    let page = backend.list("test", next.as_deref(), 1000).await.unwrap();
    assert_eq!((page.notes.len(), page.next), (1, None));
}

#[tokio::test]
async fn large_notes_come_in_several_pages() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let value: Bytes = vec![7; 1024 * 1024].into();
    let changes: Vec<_> = (0..12).map(|n| put(format!("{n:02}"), Expected::Absent, value.clone(), HOUR)).collect();
    backend.write(&changes).await.unwrap();
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = backend.list("test", after.as_deref(), 100).await.unwrap();
        assert!((1..=5).contains(&page.notes.len()) || page.next.is_none(), "{} notes of 1 MiB", page.notes.len());
        found.extend(page.notes.into_iter().map(|(name, _)| name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..12).map(|n| format!("{n:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_two_who_expect_the_same_version_one_wins() {
    let server = RedisServer::start();
    let pair = [connect(config(&server)).await, connect(config(&server)).await];
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let backend = Arc::clone(&pair[number % 2]);
            tokio::spawn(async move {
                for _ in 0..25 {
                    loop {
                        let (expected, count) = match read_one(&backend, "count").await {
                            None => (Expected::Absent, 0),
                            Some(note) => {
                                let count: u32 = String::from_utf8(note.value.to_vec()).unwrap().parse().unwrap();
                                (Expected::Version(note.version), count)
                            }
                        };
                        let change = put("count", expected, (count + 1).to_string(), HOUR);
                        if write_one(&backend, change).await != WriteOutcome::Conflict {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(read_one(&pair[0], "count").await.map(|note| note.value), Some("200".into()));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_it_is_sent() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let long: Bytes = vec![0; 16 * 1024 * 1024 + 1].into();
    let of_place = |place, value| Place { set: key("s"), place, value, keep: Duration::from_secs(1) };
    let errors = [
        backend
            .write(&[put("a", Expected::Anything, "x", HOUR), put("b", Expected::Anything, long.clone(), HOUR)])
            .await
            .err(),
        backend.gather(&[of_place(0, Bytes::new()), of_place(1_000_000, Bytes::new())]).await.err(),
        backend.gather(&[of_place(0, long)]).await.err(),
        backend.gathered(&key("s"), 0..1_000_001).await.err(),
        backend.signal("a b", Bytes::new()).await.err(),
        backend.signal("a", vec![0; 4097].into()).await.err(),
        backend.listen("").await.err(),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        assert_eq!(error.unwrap_or_else(|| panic!("number {number} was taken")).kind(), ErrorKind::Invalid);
    }
    assert_eq!(server.command(&["DBSIZE"]), "0");
    assert!(backend.write(&[]).await.unwrap().is_empty() && backend.read(&[]).await.unwrap().is_empty());
    assert!(backend.gather(&[]).await.unwrap().is_empty());
    assert!(backend.list("test", None, 0).await.unwrap().notes.is_empty());
}
