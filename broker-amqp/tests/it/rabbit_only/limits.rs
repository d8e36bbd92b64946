//! How many may wait in a queue: publishers count, and no queue is declared with a limit.

use windlass_core::broker::Overflow;
use windlass_core::{ErrorKind, Priority, QueueLimit, Schedule};
use windlass_testing::servers::RabbitServer;

use super::*;
use crate::SERVER;

fn limited(queue: &QueueName, max: u64) -> Message {
    let limit = Some(QueueLimit { max, overflow: Overflow::Reject });
    Message { limit, ..fixture::message(queue, "limited") }
}

/// Publishes in one call; `None` for what was accepted, how many wait for what was not.
async fn fill(broker: &AmqpBroker, messages: &[Message]) -> Vec<Option<u64>> {
    let outcomes = broker.publish(messages).await.unwrap();
    let read = |outcome: &PublishOutcome| match outcome {
        PublishOutcome::Accepted => None,
        PublishOutcome::Full { waiting } => Some(*waiting),
        other => panic!("{other:?}"),
    };
    outcomes.iter().map(read).collect()
}

#[tokio::test]
async fn a_full_queue_says_so_to_every_publisher_and_a_limit_can_change() {
    for kind in KINDS {
        let queue = fixture::queue();
        let config = || shared(&format!("limited-{kind:?}").to_lowercase()).queue_type(kind);
        let (one, other) = (connect(config()).await, connect(config()).await);
        let mut batch = vec![limited(&queue, 3); 5];
        batch[1].options.priority = Some(Priority::Low);
        batch.iter_mut().zip(fixture::messages(&queue, 5)).for_each(|(message, fresh)| message.id = fresh.id);
        batch.insert(3, fixture::message(&fixture::queue(), "elsewhere"));
        assert_eq!(fill(&one, &batch).await, [None, None, None, None, Some(3), Some(3)]);
        assert_eq!(fill(&other, &[limited(&queue, 3)]).await, [Some(3)]);
        assert_eq!(fill(&other, &[fixture::message(&queue, "unlimited")]).await, [None]);
        assert_eq!(fill(&one, &[limited(&queue, 5)]).await, [None], "a greater limit");
        assert_eq!(fill(&one, &[limited(&queue, 5)]).await, [Some(5)]);
        assert_eq!(fill(&one, &[limited(&queue, 2)]).await, [Some(5)], "a smaller one");
        let came = fetch_count(&other, &queue, 2).await;
        assert_eq!(fill(&one, &[limited(&queue, 5)]).await, [None], "what a worker has does not wait");
        acknowledge(&other, &came).await;
    }
}

#[tokio::test]
async fn delayed_messages_of_this_process_wait_too() {
    let queue = fixture::queue();
    let broker = connect(shared("limited-later")).await;
    let later = Message { schedule: Schedule::After(Duration::from_secs(2)), ..limited(&queue, 2) };
    assert_eq!(fill(&broker, &[later, limited(&queue, 2), limited(&queue, 2)]).await, [None, None, Some(2)]);
    let first = fetch_some(&broker, &queue, 1).await;
    assert_eq!(fill(&broker, &[limited(&queue, 1)]).await, [Some(1)], "one is on its way");
    let second = fetch_some(&broker, &queue, 1).await;
    eventually("it is not counted any more", PATIENCE, || async {
        let outcome = fill(&broker, &[limited(&queue, 1)]).await;
        (outcome == [None]).then_some(())
    })
    .await;
    acknowledge(&broker, &[first, second].concat()).await;
}

#[tokio::test]
async fn callers_of_one_process_never_exceed_a_limit() {
    let queue = fixture::queue();
    let broker = connect(shared("limited-callers")).await;
    let call = || {
        let (broker, message) = (Arc::clone(&broker), limited(&queue, 50));
        tokio::spawn(async move { fill(&broker, &[message]).await })
    };
    let calls: Vec<_> = (0..120).map(|_| call()).collect();
    let mut accepted = 0;
    for call in calls {
        accepted += usize::from(call.await.unwrap() == [None]);
    }
    assert_eq!(accepted, 50);
}

#[tokio::test]
async fn several_publishers_exceed_a_limit_by_little() {
    const LIMIT: u64 = 160;
    let queue = fixture::queue();
    let mut publishers = Vec::new();
    for _ in 0..4 {
        let (broker, queue) = (connect(shared("limited-several")).await, queue.clone());
        publishers.push(async move {
            let mut accepted = 0;
            while fill(&broker, &[limited(&queue, LIMIT)]).await == [None] {
                accepted += 1;
            }
            accepted
        });
    }
    let accepted: u64 = futures_util::future::join_all(publishers).await.into_iter().sum();
    assert!((LIMIT..=LIMIT + 3 * LIMIT / 16).contains(&accepted), "{accepted}");
}

#[tokio::test]
async fn nothing_is_asked_for_messages_without_a_limit() {
    let queue = fixture::queue();
    let broker = connect(shared("limited-not")).await;
    publish_count(&broker, &queue, 3).await;
    let queues =
        || SERVER.ctl(&["list_queues", "name"]).lines().filter(|name| name.contains(&*queue.to_string())).count();
    assert_eq!(queues(), 2, "the level that was written to and the dead letters");
    assert_eq!(fill(&broker, &[limited(&queue, 4)]).await, [None]);
    assert_eq!(queues(), 6);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let queue = fixture::queue();
    let broker = connect(shared("limited-drop")).await;
    assert!(broker.capabilities().limit && !broker.capabilities().drop_oldest);
    let limit = Some(QueueLimit { max: 1, overflow: Overflow::DropOldest });
    let dropping = Message { limit, ..fixture::message(&queue, "drop") };
    let outcomes = broker.publish(&[dropping, fixture::message(&queue, "other")]).await.unwrap();
    let [PublishOutcome::Rejected(error), PublishOutcome::Accepted] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unsupported, false), "{error}");
}

#[tokio::test]
async fn nothing_is_sent_past_a_limit_that_cannot_be_asked_for() {
    let server = RabbitServer::start();
    let queue = fixture::queue();
    let config = AmqpBrokerConfig::new(server.url()).send_timeout(millis(1_500)).operation_timeout(millis(500));
    let broker = connect(config).await;
    assert_eq!(fill(&broker, &[limited(&queue, 2)]).await, [None]);
    server.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
    // The server says that it is blocked when somebody publishes.
    broker.publish(&fixture::messages(&queue, 1)).await.unwrap_err();
    let error = broker.publish(&[limited(&queue, 3)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("broker blocked: low on memory or disk"), "{error}");
    server.ctl(&["set_vm_memory_high_watermark", "0.9"]);
    let came = eventually("it goes on", PATIENCE, || async {
        let outcomes = broker.publish(&[limited(&queue, 3), limited(&queue, 3)]).await.ok()?;
        Some(outcomes.iter().map(PublishOutcome::is_accepted).collect::<Vec<_>>())
    })
    .await;
    assert_eq!(came, [true, false], "what was written while it was blocked counts");
}

#[tokio::test]
async fn what_has_come_to_a_worker_and_is_not_fetched_waits() {
    const ROUNDS: usize = 6;
    let (worker, publisher) = (connect(shared("limited-near")).await, connect(shared("limited-near")).await);
    let mut full = 0;
    for _ in 0..ROUNDS {
        let queue = fixture::queue();
        publish_count(&publisher, &queue, 2).await;
        worker.ready(&queue, PATIENCE).await.unwrap();
        full += usize::from(fill(&worker, &[limited(&queue, 2)]).await == [Some(2)]);
    }
    // While it is given back, a message is nowhere for a moment.
    assert!(full > ROUNDS / 2, "{full} of {ROUNDS}");
}

#[tokio::test]
async fn a_level_without_a_leader_holds_up_no_publisher() {
    let queue = fixture::queue();
    let broker = connect(shared("limited-leaderless")).await;
    assert_eq!(fill(&broker, &[limited(&queue, 2)]).await, [None]);
    let process = format!("'%2F_limited-leaderless.{queue}.low'");
    SERVER.ctl(&["eval", &format!("sys:suspend({process}).")]);
    assert_eq!(fill(&broker, &[limited(&queue, 2)]).await, [None]);
    assert_eq!(fill(&broker, &[limited(&queue, 2)]).await, [Some(2)]);
    SERVER.ctl(&["eval", &format!("sys:resume({process}).")]);
}
