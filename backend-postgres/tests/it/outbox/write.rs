//! What a write leaves in the table, and when.

use std::time::Duration;

use windlass_backend_postgres::OutboxConfig;
use windlass_core::flow::FlowPart;
use windlass_core::limits::{DELAY, PAYLOAD_BYTES_HARD};
use windlass_core::{ErrorKind, Message, Options, Schedule, Timestamp};
use windlass_testing::fixture;

use super::{PATIENCE, Scene, payloads};

#[tokio::test]
async fn what_is_rolled_back_was_never_sent_and_what_is_committed_is() {
    let scene = Scene::new().await;
    let [kept, undone] = [0, 1].map(|n| scene.messages(2)[n].clone());
    let mut transaction = scene.pool.begin().await.unwrap();
    scene.outbox.write(&mut *transaction, &[undone]).await.unwrap();
    transaction.rollback().await.unwrap();
    scene.commit(std::slice::from_ref(&kept)).await;
    let relay = scene.relay();
    let arrived = scene.arrived(1).await;
    assert_eq!(arrived[0].id, kept.id);
    scene.emptied().await;
    assert_eq!(relay.stop().await.to_string(), "1 published");
    scene.arrived(1).await;
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_takes_its_messages_along() {
    use sqlx::Acquire as _;
    let scene = Scene::new().await;
    let messages = scene.messages(3);
    let mut transaction = scene.pool.begin().await.unwrap();
    scene.outbox.write(&mut *transaction, &messages[..1]).await.unwrap();
    let mut inner = transaction.begin().await.unwrap();
    scene.outbox.write(&mut *inner, &messages[1..2]).await.unwrap();
    inner.rollback().await.unwrap();
    scene.outbox.write(&mut *transaction, &messages[2..]).await.unwrap();
    transaction.commit().await.unwrap();
    let relay = scene.relay();
    assert_eq!(payloads(&scene.arrived(2).await), ["0", "2"]);
    relay.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_of_a_message() {
    let scene = Scene::new().await;
    let at = Timestamp::from_micros(4_102_444_800_000_000);
    let sent = Message {
        options: Options { headers: fixture::every_option().headers, ..fixture::every_option() },
        schedule: Schedule::At(at),
        remember: Some(Duration::from_secs(86_400)),
        flow: Some(Box::new(FlowPart::new(fixture::task_id(), Duration::from_secs(60)))),
        unknown: vec![("later".to_owned(), "a\nb".to_owned())],
        ..fixture::message(&scene.queue, fixture::binary())
    };
    scene.commit(std::slice::from_ref(&sent)).await;
    let relay = scene.relay();
    scene.arrived(1).await;
    let (message, due) = scene.broker.waiting().pop().unwrap();
    relay.stop().await;
    assert_eq!(due, Some(at));
    // The transport of the memory broker carries the schedule apart from the message.
    assert_eq!(message, Message { schedule: message.schedule, ..sent });
}

#[tokio::test]
async fn ids_are_remembered_so_that_a_second_publish_is_refused() {
    let scene = Scene::new().await;
    let [automatic, chosen] = [0, 1].map(|n| scene.messages(2)[n].clone());
    let chosen = Message { remember: Some(Duration::from_secs(7200)), ..chosen };
    scene.commit(&[automatic, chosen]).await;
    let relay = scene.relay();
    let kept: Vec<_> = scene.arrived(2).await.iter().map(|message| message.remember.unwrap().as_secs()).collect();
    relay.stop().await;
    assert_eq!(kept, [3600, 7200]);
}

#[tokio::test]
async fn a_delay_counts_from_the_write_and_not_from_the_relay() {
    let scene = Scene::new().await;
    let delayed = |n: usize, delay| Message { schedule: Schedule::After(delay), ..scene.messages(2)[n].clone() };
    let delay = Duration::from_secs(3600);
    scene.commit(&[delayed(0, delay), delayed(1, delay)]).await;
    scene.sql("UPDATE $schema.outbox SET written_at = written_at - interval '1000 s'").await;
    scene.sql("UPDATE $schema.outbox SET written_at = written_at - interval '1 day' WHERE seq = 2").await;
    let relay = scene.relay();
    scene.arrived(2).await;
    relay.stop().await;
    let waiting = scene.broker.waiting();
    assert_eq!(waiting[1].1, None, "its time has passed");
    let due = waiting[0].1.expect("it is delayed");
    let wanted = waiting[0].0.enqueued_at.plus(delay - Duration::from_secs(1000));
    let off = due.since(wanted).max(wanted.since(due));
    assert!(off < PATIENCE, "{off:?}");
}

#[tokio::test]
async fn a_write_is_refused_at_the_door() {
    let scene = Scene::new().await;
    let message = scene.messages(1).remove(0);
    let large = Message { payload: vec![0; PAYLOAD_BYTES_HARD + 1].into(), ..message.clone() };
    let late = Message { schedule: Schedule::After(DELAY + Duration::from_secs(1)), ..message.clone() };
    let many = vec![message.clone(); 10_001];
    let heavy = vec![Message { payload: vec![0; PAYLOAD_BYTES_HARD].into(), ..message.clone() }; 5];
    let mut transaction = scene.pool.begin().await.unwrap();
    for (messages, text) in [
        (vec![large], "16777217 B is not allowed"),
        (vec![late], "at most 31622400 s"),
        (many, "10001 messages"),
        (heavy, "at most 10000 messages and 67108864 B"),
    ] {
        let error = scene.outbox.write(&mut *transaction, &messages).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(text), "{error}");
    }
    scene.outbox.write(&mut *transaction, &[]).await.unwrap();
    // The transaction is as good as before.
    scene.outbox.write(&mut *transaction, &[message]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(scene.outbox.stats().await.unwrap().pending, 1);
}

#[tokio::test]
async fn a_write_without_tables_says_so() {
    let scene = Scene::new().await;
    let elsewhere = OutboxConfig::default().schema("nobody_made_it");
    let outbox = windlass_backend_postgres::Outbox::from_pool(scene.pool.clone(), elsewhere).unwrap();
    let error = outbox.write(&scene.pool, &scene.messages(1)).await.unwrap_err();
    assert!(error.to_string().contains("nobody_made_it") && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn stats_tell_how_much_waits_and_how_long() {
    let scene = Scene::new().await;
    let stats = scene.outbox.stats().await.unwrap();
    assert_eq!((stats.pending, stats.oldest, stats.stuck), (0, None, 0));
    scene.commit(&scene.messages(3)).await;
    scene.sql("UPDATE $schema.outbox SET written_at = written_at - interval '1 h' WHERE seq = 1").await;
    let stats = scene.outbox.stats().await.unwrap();
    assert_eq!((stats.pending, stats.stuck), (3, 0));
    let oldest = stats.oldest.expect("three wait");
    assert!(oldest >= Duration::from_secs(3600) && oldest < Duration::from_secs(3600) + PATIENCE, "{oldest:?}");
}

#[tokio::test]
async fn who_writes_needs_no_right_but_to_insert() {
    let scene = Scene::new().await;
    let role = scene.outbox.config().schema.replace("test", "writer");
    let grants = "CREATE ROLE $role; GRANT USAGE ON SCHEMA $schema TO $role; GRANT INSERT ON $schema.outbox TO $role";
    scene.sql(&grants.replace("$role", &role)).await;
    let mut transaction = scene.pool.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET LOCAL ROLE {role}"))).execute(&mut *transaction).await.unwrap();
    scene.outbox.write(&mut *transaction, &scene.messages(1)).await.unwrap();
    transaction.commit().await.unwrap();
    let relay = scene.relay();
    scene.arrived(1).await;
    relay.stop().await;
}
