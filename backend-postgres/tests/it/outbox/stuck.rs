//! Rows that the broker refuses stay visible and hold up nobody.

use std::sync::Arc;

use bytes::Bytes;
use windlass_backend_postgres::StuckRow;
use windlass_core::broker::Overflow;
use windlass_core::{Broker as _, Clock as _, ErrorKind, FetchRequest, Message, QueueLimit};
use windlass_testing::conformance::eventually;
use windlass_testing::{TokioClock, fixture};

use super::picky::{Picky, Refuses};
use super::{PATIENCE, Scene, payloads};

/// Good messages 0 to 8, with bad ones between them.
fn mixed(scene: &Scene) -> Vec<Message> {
    let payload = |n: usize| if n % 4 == 2 { format!("bad {n}") } else { n.to_string() };
    (0..9).map(|n| fixture::message(&scene.queue, payload(n))).collect()
}

async fn stuck(scene: &Scene, count: usize) -> Vec<StuckRow> {
    let listed = || async {
        let page = scene.outbox.stuck(None, 100).await.ok()?;
        Some(page.rows).filter(|rows| rows.len() >= count)
    };
    let rows = eventually("refused rows are listed", PATIENCE, listed).await;
    assert_eq!(rows.len(), count);
    rows
}

#[tokio::test]
async fn refused_messages_are_set_aside_and_the_others_arrive_in_order() {
    let refusals = [
        (Refuses::Each, "publish: not this"),
        (Refuses::Named, "payload: it is not allowed: good"),
        (Refuses::Whole(ErrorKind::Invalid), "publish: not this"),
        (Refuses::Whole(ErrorKind::Rejected), "publish: not this"),
    ];
    for (refuses, reason) in refusals {
        let scene = Scene::new().await;
        scene.commit(&mixed(&scene)).await;
        let relay = scene.relay_to(Arc::new(Picky::new(scene.broker.clone(), refuses)));
        assert_eq!(payloads(&scene.arrived(7).await), ["0", "1", "3", "4", "5", "7", "8"], "{refuses:?}");
        let rows = stuck(&scene, 2).await;
        scene.emptied().await;
        assert_eq!(relay.stop().await.to_string(), "7 published, 2 refused");
        for (row, payload) in rows.iter().zip(["bad 2", "bad 6"]) {
            let message = row.content.as_ref().unwrap();
            assert_eq!((&message.payload[..], row.attempts), (payload.as_bytes(), 1));
            assert_eq!((row.id.clone(), row.queue.as_str()), (message.id.to_string(), scene.queue.as_str()));
            assert!(row.reason.starts_with(reason), "{}", row.reason);
            assert!(row.retry_at > row.written_at);
        }
        assert_eq!(scene.outbox.stats().await.unwrap().stuck, 2);
    }
}

#[tokio::test]
async fn a_queue_that_is_denied_holds_up_no_other() {
    let scene = Scene::new().await;
    let other = fixture::queue();
    let messages =
        [fixture::message(&scene.queue, "bad 0"), fixture::message(&other, "1"), scene.messages(1).remove(0)];
    scene.commit(&messages).await;
    let relay = scene.relay_to(Arc::new(Picky::new(scene.broker.clone(), Refuses::Whole(ErrorKind::Denied))));
    assert_eq!(payloads(&scene.arrived(1).await), ["1"]);
    // Whose queue is denied is not asked one by one.
    assert_eq!(stuck(&scene, 2).await.len(), 2);
    relay.stop().await;
}

#[tokio::test]
async fn a_stuck_row_can_be_retried_or_removed() {
    let scene = Scene::new().await;
    scene.commit(&mixed(&scene)).await;
    let broker = Arc::new(Picky::new(scene.broker.clone(), Refuses::Each));
    let relay = scene.relay_to(Arc::clone(&broker) as _);
    let seqs: Vec<i64> = stuck(&scene, 2).await.iter().map(|row| row.seq).collect();

    assert_eq!(scene.outbox.retry(&seqs).await.unwrap(), 2);
    let tried = || async {
        let rows = scene.outbox.stuck(None, 10).await.ok()?.rows;
        rows.iter().all(|row| row.attempts == 2).then_some(rows)
    };
    let rows = eventually("it is tried again", PATIENCE, tried).await;
    assert_eq!((rows.len(), rows[0].reason.as_str()), (2, "publish: not this"));

    assert_eq!(scene.outbox.remove(&seqs[..1]).await.unwrap(), 1);
    assert_eq!(scene.outbox.remove(&seqs[..1]).await.unwrap(), 0);
    *broker.strict.lock().unwrap() = false;
    assert_eq!(scene.outbox.retry(&seqs).await.unwrap(), 1);
    let arrived = scene.arrived(8).await;
    assert_eq!(arrived.last().unwrap().payload, "bad 6");
    let none = || async { scene.outbox.stats().await.ok().filter(|stats| stats.stuck == 0) };
    eventually("nothing is stuck", PATIENCE, none).await;
    relay.stop().await;
}

#[tokio::test]
async fn what_finds_its_queue_full_goes_in_when_there_is_room() {
    let scene = Scene::new().await;
    let limit = Some(QueueLimit { max: 2, overflow: Overflow::Reject });
    let messages: Vec<Message> = scene.messages(3).into_iter().map(|message| Message { limit, ..message }).collect();
    scene.commit(&messages).await;
    let relay = scene.relay();
    scene.arrived(2).await;
    let row = stuck(&scene, 1).await.remove(0);
    assert!(row.reason.contains("full"), "{}", row.reason);
    let message = row.content.unwrap();
    assert_eq!((&message.id, message.limit), (&messages[2].id, limit), "it is held to the limit the next time, too");
    // A worker takes one, so there is room.
    let taken = scene.broker.fetch(&FetchRequest::new(scene.queue.clone(), 1, PATIENCE)).await.unwrap();
    assert_eq!(taken.len(), 1);
    scene.outbox.retry(&[row.seq]).await.unwrap();
    assert_eq!(payloads(&scene.arrived(2).await), ["1", "2"]);
    relay.stop().await;
}

#[tokio::test]
async fn stuck_rows_are_tried_again_by_themselves_with_growing_pauses() {
    let scene = Scene::new().await;
    scene.commit(&[fixture::message(&scene.queue, "bad")]).await;
    let relay = scene.relay_to(Arc::new(Picky::new(scene.broker.clone(), Refuses::Each)));
    stuck(&scene, 1).await;
    for (attempts, seconds) in [(1, 3..=10), (50, 290..=600)] {
        // As if the pause were over; nobody rings, so the relay looks by itself.
        scene.sql(&format!("UPDATE $schema.outbox_stuck SET attempts = {attempts}, retry_at = now()")).await;
        let tried = || async {
            let row = scene.outbox.stuck(None, 1).await.ok()?.rows.pop()?;
            (row.attempts == attempts + 1).then_some(row)
        };
        let row = eventually("it is tried again", PATIENCE, tried).await;
        let pause = row.retry_at.since(TokioClock.now()).as_secs();
        assert!(seconds.contains(&pause), "after {attempts} attempts: {pause} s");
    }
    relay.stop().await;
}

#[tokio::test]
async fn rows_that_are_no_messages_are_kept_with_what_is_wrong() {
    let scene = Scene::new().await;
    let insert = "INSERT INTO $schema.outbox (id, queue, body) VALUES ('a b', 'q', 'x'), ('c', 'amq.x', 'x'),
        ('d', 'q', 'rubbish'), ('e', 'q', 'windlass/2 add\n\n')";
    scene.sql(insert).await;
    scene.commit(&scene.messages(1)).await;
    let relay = scene.relay();
    scene.arrived(1).await;
    let rows = stuck(&scene, 4).await;
    relay.stop().await;
    let wanted = ["character ' '", "amq. is reserved", "envelope: expected", "envelope version 2"];
    for (row, text) in rows.iter().zip(wanted) {
        assert!(row.reason.contains(text), "{}", row.reason);
        let (reason, bytes) = row.content.as_ref().unwrap_err();
        assert!(reason.contains(text) && !bytes.is_empty());
    }
    assert_eq!(rows[2].content.as_ref().unwrap_err().1, Bytes::from_static(b"rubbish"));
}

#[tokio::test]
async fn pages_of_stuck_rows_follow_each_other() {
    let scene = Scene::new().await;
    let insert = "INSERT INTO $schema.outbox_stuck
        SELECT n, 'id' || n, 'q', NULL, NULL, now(), 1, 'because', now() + interval '1 day', 0, 'x'
        FROM generate_series(1, 7) AS n";
    scene.sql(insert).await;
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let page = scene.outbox.stuck(cursor.as_deref(), 3).await.unwrap();
        assert!(page.rows.len() <= 3);
        seen.extend(page.rows.iter().map(|row| row.seq));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    let error = scene.outbox.stuck(Some("x"), 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_page_of_large_rows_is_short() {
    let scene = Scene::new().await;
    let insert = "INSERT INTO $schema.outbox_stuck
        SELECT n, 'id' || n, 'q', NULL, NULL, now(), 1, 'because', now() + interval '1 day', 0,
            decode(repeat('00', 3 * 1024 * 1024), 'hex')
        FROM generate_series(1, 3) AS n";
    scene.sql(insert).await;
    let page = scene.outbox.stuck(None, 100).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    let page = scene.outbox.stuck(page.next.as_deref(), 100).await.unwrap();
    assert_eq!((page.rows.len(), page.rows[0].seq), (1, 2));
}

#[tokio::test]
async fn many_stuck_rows_take_turns_with_the_others() {
    let scene = Scene::new().await;
    let insert = "INSERT INTO $schema.outbox_stuck
        SELECT n, 'id' || n, 'q', NULL, NULL, now(), 1, 'because', now(), 0, 'rubbish' FROM generate_series(1, 20000) AS n";
    scene.sql(insert).await;
    scene.commit(&scene.messages(1)).await;
    let relay = scene.relay();
    scene.arrived(1).await;
    let text = "SELECT count(*) FROM $schema.outbox_stuck WHERE attempts > 1";
    let text = text.replace("$schema", &scene.outbox.config().schema);
    let tried =
        || async { sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(text.as_str())).fetch_one(&scene.pool).await.ok() };
    let before = tried().await.unwrap();
    assert!(before < 10_000, "{before} rows were tried before");
    let all = || async { tried().await.filter(|count| *count == 20_000).map(drop) };
    eventually("all are tried in the end", PATIENCE, all).await;
    relay.stop().await;
}
