//! Everything ends: notes, their names and sets.

use std::time::Duration;

use windlass_core::{Expected, Notebook, Retention};
use windlass_testing::servers::RedisServer;

use super::*;
use crate::support::{HOUR, config, connect, pttl, until, until_async};

#[tokio::test]
async fn notes_and_their_names_end() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let short = Retention::For(Duration::from_millis(30));
    let changes = [put("a", Expected::Absent, "1", short), put("b", Expected::Absent, "2", HOUR)];
    backend.write(&changes).await.unwrap();
    until(|| server.command(&["EXISTS", &note_of("a")]) == "0").await;
    assert_eq!(server.command(&["ZCARD", SHELF]), "2", "the name is still there");
    assert_eq!(names(&backend, 10).await, (vec!["b".to_owned()], None));
    assert_eq!(server.command(&["ZRANGE", SHELF, "0", "-1"]), "b", "the page has removed it");
    assert_eq!(server.command(&["ZRANGE", ENDS, "0", "-1"]), "b");
    for key in [SHELF, ENDS] {
        assert!((3_600_000..3_700_000).contains(&pttl(&server, key)), "{key}: {}", pttl(&server, key));
    }
    // As long as one stays, its name does.
    write_one(&backend, put("c", Expected::Absent, "3", Retention::Forever)).await;
    assert_eq!([SHELF, &note_of("c")].map(|key| pttl(&server, key)), [-1, -1]);
    // A note that ended once, and is kept for ever now, is not swept.
    write_one(&backend, put("b", Expected::Anything, "2", Retention::Forever)).await;
    assert_eq!(server.command(&["EXISTS", ENDS]), "0");
    write_one(&backend, remove("c")).await;
    assert_eq!(pttl(&server, SHELF), -1);
    write_one(&backend, put("b", Expected::Anything, "2", HOUR)).await;
    assert!((3_600_000..3_700_000).contains(&pttl(&server, SHELF)));
    write_one(&backend, remove("b")).await;
    assert_eq!(server.command(&["EXISTS", SHELF, ENDS]), "0");
    assert_eq!(server.command(&["DBSIZE"]), "1", "the counter, which ends after a day");
}

#[tokio::test]
async fn a_shelf_that_nobody_lists_does_not_grow() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    // Names of notes that ended long ago, as a year of progress would leave them.
    for number in 0..500 {
        server.command(&["ZADD", SHELF, "0", &format!("old-{number}")]);
        server.command(&["ZADD", ENDS, &(1_700_000_000_000_u64 + number).to_string(), &format!("old-{number}")]);
    }
    for number in 0..5 {
        write_one(&backend, put(number, Expected::Absent, "x", HOUR)).await;
    }
    assert_eq!([SHELF, ENDS].map(|key| server.command(&["ZCARD", key])), ["5", "5"]);
}

#[tokio::test]
async fn a_page_of_ended_notes_is_answered_in_bounded_work() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    for start in (0..20_000).step_by(2_000) {
        let members: Vec<_> = (start..start + 2_000).flat_map(|n| ["0".to_owned(), format!("gone-{n:05}")]).collect();
        let words: Vec<&str> = ["ZADD", SHELF].into_iter().chain(members.iter().map(String::as_str)).collect();
        server.command(&words);
    }
    write_one(&backend, put("living", Expected::Absent, "x", Retention::Forever)).await;
    server.command(&["CONFIG", "RESETSTAT"]);
    let (mut after, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = backend.list("test", after.as_deref(), 1000).await.unwrap();
        pages += 1;
        found.extend(page.notes.into_iter().map(|(name, _)| name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["living"]);
    assert!((2..=4).contains(&pages), "{pages} pages");
    assert_eq!(server.command(&["ZCARD", SHELF]), "1", "what had ended was removed");
}

#[tokio::test]
async fn a_note_that_was_written_again_stays_listed() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let short = Retention::For(Duration::from_millis(20));
    write_one(&backend, put("a", Expected::Absent, "1", short)).await;
    until(|| server.command(&["EXISTS", &note_of("a")]) == "0").await;
    write_one(&backend, put("a", Expected::Absent, "2", HOUR)).await;
    assert_eq!(names(&backend, 10).await, (vec!["a".to_owned()], None));
    let score: u64 = server.command(&["ZSCORE", ENDS, "a"]).parse().unwrap();
    assert!(score > 1_700_000_000_000 + 3_500_000, "{score}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_forgets_no_note_that_is_written_meanwhile() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let lister = connect(config(&server)).await;
    let listing = tokio::spawn(async move {
        loop {
            names(&lister, 10).await;
        }
    });
    for round in 0..200 {
        write_one(&backend, put("a", Expected::Anything, "1", Retention::For(Duration::from_millis(1)))).await;
        until_async(|| async { read_one(&backend, "a").await.is_none() }).await;
        write_one(&backend, put("a", Expected::Anything, "2", HOUR)).await;
        assert_eq!(names(&backend, 10).await.0, ["a"], "round {round}");
    }
    listing.abort();
}

#[tokio::test]
async fn sets_are_only_ever_kept_longer_and_end() {
    let server = RedisServer::start();
    let backend = connect(config(&server)).await;
    let set = "windlass:{results}:set:test:s";
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
    assert_eq!(backend.gather(&[place("s", 3, long), place("s", 3, short)]).await.unwrap(), [1, 1]);
    assert!(pttl(&server, set) > 50_000);
    assert_eq!(backend.gather(&[place("s", 1, short)]).await.unwrap(), [2]);
    assert!(pttl(&server, set) > 50_000);
    assert_eq!(backend.gather(&[place("s", 2, 2 * long)]).await.unwrap(), [3]);
    assert!(pttl(&server, set) > 110_000);
    assert_eq!(backend.gather(&[place("t", 0, short)]).await.unwrap(), [1]);
    until(|| server.command(&["EXISTS", "windlass:{results}:set:test:t"]) == "0").await;
    assert_eq!(backend.gathered(&key("t"), 0..1).await.unwrap(), [None]);
    assert_eq!(backend.gather(&[place("t", 0, short)]).await.unwrap(), [1], "it begins anew");
}
