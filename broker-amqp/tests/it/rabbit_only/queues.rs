//! Queues: their arguments, their limits, and what happens when somebody deletes one.

use std::time::Instant;

use lapin::options::BasicPublishOptions;
use windlass_core::{ErrorKind, Progress, Schedule};

use super::*;
use crate::SERVER;

#[tokio::test]
async fn fault_76_other_arguments_are_refused_with_both_sets() {
    let queue = fixture::queue();
    let quorum = connect(shared("mismatch")).await;
    publish_count(&quorum, &queue, 1).await;
    let classic = connect(shared("mismatch").queue_type(QueueType::Classic)).await;
    let start = Instant::now();
    for error in [
        classic.publish(&fixture::messages(&queue, 1)).await.unwrap_err(),
        classic.fetch(&FetchRequest::new(queue.clone(), 1, LONG)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(!error.is_retryable());
        let text = error.to_string();
        for part in ["exists with other arguments", "x-queue-type=classic", "inequivalent arg", "current is 'quorum'"] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }
    assert!(start.elapsed() < millis(5_000), "refused at once, not repeated: {:?}", start.elapsed());
}

#[tokio::test]
async fn fault_79_a_full_queue_refuses() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("full-{kind:?}").to_lowercase();
        let broker = connect(shared(&prefix).queue_type(kind).max_length(Some(5))).await;
        let refused = eventually("the queue is full", PATIENCE, || async {
            let outcomes = broker.publish(&fixture::messages(&queue, 4)).await;
            match outcomes {
                Ok(outcomes) => outcomes.into_iter().find_map(|outcome| match outcome {
                    PublishOutcome::Rejected(error) => Some(error),
                    _ => None,
                }),
                Err(error) => Some(error),
            }
        })
        .await;
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        assert!(refused.is_retryable() && refused.to_string().contains("queue full"), "{refused}");
    }
}

#[tokio::test]
async fn fault_77_a_queue_that_is_gone_is_declared_again_by_its_publisher() {
    let queue = fixture::queue();
    let broker = connect(shared("gone")).await;
    publish_count(&broker, &queue, 1).await;
    SERVER.ctl(&["delete_queue", &format!("gone.{queue}.normal")]);
    let expected = publish_count(&broker, &queue, 2).await;
    assert_eq!(ids(&fetch_count(&broker, &queue, 2).await), expected);
}

#[tokio::test]
async fn fault_75_a_queue_deleted_under_the_consumer_is_declared_again() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("deleted-{kind:?}").to_lowercase();
        let broker = connect(shared(&prefix).queue_type(kind)).await;
        let publisher = connect(shared(&prefix).queue_type(kind)).await;
        let held = publish_count(&publisher, &queue, 1).await;
        // With room for the second message, so that its fetch has nothing to change at the server.
        let taken = fetch_some(&broker, &queue, 2).await;
        assert_eq!(ids(&taken), held);
        acknowledge(&broker, &taken).await;
        SERVER.ctl(&["delete_queue", &format!("{prefix}.{queue}.normal")]);
        let waiting = tokio::spawn({
            let (broker, queue) = (Arc::clone(&broker), queue.clone());
            async move { fetch_some(&broker, &queue, 1).await }
        });
        let expected = publish_count(&publisher, &queue, 1).await;
        let came = tokio::time::timeout(PATIENCE, waiting).await.expect("it comes soon").unwrap();
        assert_eq!(ids(&came), expected);
        acknowledge(&broker, &came).await;
    }
}

#[tokio::test]
async fn fault_84_a_long_delay_holds_up_no_short_one() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("ladder-{kind:?}").to_lowercase();
        let broker = connect(shared(&prefix).queue_type(kind)).await;
        let after = |seconds: u64| Message {
            schedule: Schedule::After(Duration::from_secs(seconds)),
            ..fixture::message(&queue, seconds.to_string())
        };
        // The first one declares the whole ladder.
        publish(&broker, &[after(366 * 24 * 3600)]).await;
        let messages = [after(6 * 3600), after(5), after(3), after(1)];
        let start = Instant::now();
        publish(&broker, &messages).await;
        for (message, seconds) in [(&messages[3], 1), (&messages[2], 3), (&messages[1], 5)] {
            let came = fetch_some(&broker, &queue, 1).await;
            assert_eq!(came[0].receipt.id, message.id);
            let late = start.elapsed().as_secs_f64() - seconds as f64;
            assert!((-0.01..1.5).contains(&late), "due after {seconds} s, {late} s late");
            acknowledge(&broker, &came).await;
        }
    }
}

#[tokio::test]
async fn fault_87_no_more_is_handed_out_than_was_asked_for() {
    let queue = fixture::queue();
    let broker = connect(shared("prefetch")).await;
    publish_count(&broker, &queue, 50).await;
    let held = fetch_count(&broker, &queue, 3).await;
    let name = format!("prefetch.{queue}.normal");
    eventually("at most three are out", PATIENCE, || async {
        let listed = SERVER.ctl(&["list_queues", "name", "messages_unacknowledged"]);
        let line = listed.lines().find(|line| line.starts_with(&name))?.to_owned();
        (line.split('\t').next_back() == Some("3")).then_some(())
    })
    .await;
    acknowledge(&broker, &held).await;
}

#[tokio::test]
async fn what_nobody_fetches_is_given_back_uncounted() {
    let queue = fixture::queue();
    let (one, other) = (connect(shared("hoard")).await, connect(shared("hoard")).await);
    let published = publish_count(&one, &queue, 3).await;
    // It is told of a message, and never fetches it.
    one.ready(&queue, PATIENCE).await.unwrap();
    let came = fetch_count(&other, &queue, 3).await;
    let mut found = ids(&came);
    found.sort();
    let mut expected = published;
    expected.sort();
    assert_eq!(found, expected);
    assert!(came.iter().all(|delivery| delivery.progress == Progress::default()), "{came:?}");
}

#[tokio::test]
async fn closing_gives_back_uncounted() {
    let queue = fixture::queue();
    let (one, other) = (connect(shared("closing")).await, connect(shared("closing")).await);
    let published = publish_count(&one, &queue, 2).await;
    one.ready(&queue, PATIENCE).await.unwrap();
    one.close().await;
    let came = fetch_count(&other, &queue, 2).await;
    assert_eq!(ids(&came), published);
    assert!(came.iter().all(|delivery| delivery.progress == Progress::default()), "{came:?}");
}

#[tokio::test]
async fn a_lost_worker_is_counted_on_both_kinds() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("lost-{kind:?}").to_lowercase();
        let config = || shared(&prefix).queue_type(kind);
        let publisher = connect(config()).await;
        publish_count(&publisher, &queue, 1).await;
        let mut last = None;
        for losses in 0..4 {
            let worker = connect(config()).await;
            let came = fetch_some(&worker, &queue, 1).await;
            assert_eq!(came[0].progress, Progress { losses, ..Progress::default() }, "{kind:?}");
            assert!(last < Some(came[0].receipt.token), "a later claim has a greater token");
            last = Some(came[0].receipt.token);
            // The copy that counts a loss comes before its original goes; who dies in between leaves both.
            eventually("it is there once", PATIENCE, || async {
                let listed = SERVER.ctl(&["list_queues", "name", "messages"]);
                let ours = listed.lines().filter(|line| line.starts_with(&format!("{prefix}.{queue}.")));
                let messages = ours.filter_map(|line| line.split('\t').next_back()?.parse::<u32>().ok());
                (kind == QueueType::Quorum || messages.sum::<u32>() == 1).then_some(())
            })
            .await;
            // Its connections end with it, without a word.
            drop(worker);
        }
    }
}

#[tokio::test]
async fn a_foreign_message_is_delivered_buried_and_listed() {
    let queue = fixture::queue();
    let broker = connect(shared("foreign")).await;
    assert!(broker.fetch(&FetchRequest::new(queue.clone(), 1, LONG)).await.unwrap().is_empty());
    let url = format!("{}/%2F", SERVER.url());
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("foreign.{queue}.normal");
    let plain = lapin::BasicProperties::default();
    channel.basic_publish("".into(), name.into(), BasicPublishOptions::default(), b"hello", plain).await.unwrap();
    let came = fetch_some(&broker, &queue, 1).await;
    assert_eq!(came[0].content.as_ref().unwrap_err().bytes, "hello");
    assert_eq!(settle(&broker, &came, Disposition::DeadLetter).await, [SettleOutcome::Settled]);
    let page = broker.dead_letters(&queue, None, 10).await.unwrap();
    assert_eq!(page.letters[0].content.as_ref().unwrap_err().bytes, "hello");
    assert_eq!((page.letters[0].reason.as_str(), page.next), ("a reason", None));
    assert_eq!(broker.replay(&queue, &[came[0].receipt.id.clone().into()]).await.unwrap(), 1);
    assert_eq!(ids(&fetch_some(&broker, &queue, 1).await), ids(&came));
}

#[tokio::test]
async fn listing_changes_neither_order_nor_counts() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("dead-{kind:?}").to_lowercase();
        let broker = connect(shared(&prefix).queue_type(kind)).await;
        let published = publish_count(&broker, &queue, 7).await;
        let came = fetch_count(&broker, &queue, 7).await;
        settle(&broker, &came, Disposition::DeadLetter).await;
        for _ in 0..25 {
            let (one, other) =
                tokio::join!(broker.dead_letters(&queue, None, 3), broker.dead_letters(&queue, None, 10));
            let (page, all) = (one.unwrap(), other.unwrap());
            let listed: Vec<TaskId> = all.letters.iter().map(|letter| letter.id.clone()).collect();
            assert_eq!(listed, published);
            assert!(all.letters.iter().all(|letter| letter.progress == Progress::default()));
            let next = broker.dead_letters(&queue, page.next.as_deref(), 10).await.unwrap();
            let rest: Vec<TaskId> = next.letters.iter().map(|letter| letter.id.clone()).collect();
            assert_eq!(rest, published[3..]);
        }
    }
}
