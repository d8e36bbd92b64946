//! Dead letters: kept by number and age, put back otherwise than they were, and removed.

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use windlass_core::{ErrorKind, Options, Priority, Progress, Replay};

use super::*;
use crate::SERVER;

/// Publishes messages that become dead letters; answers their ids.
async fn bury(broker: &AmqpBroker, queue: &QueueName, count: usize) -> Vec<TaskId> {
    let published = publish_count(broker, queue, count).await;
    let came = fetch_count(broker, queue, count).await;
    assert_eq!(settle(broker, &came, Disposition::DeadLetter).await, vec![SettleOutcome::Settled; count]);
    published
}

async fn listed(broker: &AmqpBroker, queue: &QueueName) -> Vec<TaskId> {
    let page = broker.dead_letters(queue, None, 1000).await.unwrap();
    page.letters.into_iter().map(|letter| letter.id).collect()
}

#[tokio::test]
async fn no_more_are_kept_than_the_limit_and_the_limit_can_change() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("dead-max-{kind:?}").to_lowercase();
        let config = |max: u64| shared(&prefix).queue_type(kind).dead_max(max);
        let broker = connect(config(5)).await;
        let mut all = Vec::new();
        for count in [1, 7, 1, 1, 3] {
            all.extend(bury(&broker, &queue, count).await);
        }
        // Who keeps all sees all.
        let keeper = connect(config(1_000_000)).await;
        eventually("only the youngest are left", PATIENCE, || async {
            (listed(&keeper, &queue).await == all[8..]).then_some(())
        })
        .await;
        assert_eq!(listed(&broker, &queue).await, all[8..]);
        let other = connect(config(2)).await;
        assert_eq!(listed(&other, &queue).await, all[11..]);
        assert_eq!(listed(&broker, &queue).await, all[11..]);
    }
}

#[tokio::test]
async fn what_is_too_old_is_not_listed_and_goes_when_others_come() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("dead-ttl-{kind:?}").to_lowercase();
        let config = |ttl: u64| shared(&prefix).queue_type(kind).dead_ttl(millis(ttl));
        let (short, long) = (connect(config(1_500)).await, connect(config(600_000)).await);
        let letters = bury(&short, &queue, 2).await;
        assert_eq!(listed(&short, &queue).await, letters);
        eventually("they are too old", PATIENCE, || async { listed(&short, &queue).await.is_empty().then_some(()) })
            .await;
        assert_eq!(listed(&long, &queue).await, [], "they are gone for everybody");

        let mut buried = 0;
        eventually("some are gone, and nobody who removes them has listed them", PATIENCE, || {
            buried += 1;
            let (short, long, queue) = (&short, &long, &queue);
            async move {
                bury(short, queue, 1).await;
                (listed(long, queue).await.len() < buried).then_some(())
            }
        })
        .await;
        assert!(buried > 1, "nothing goes too early");
    }
}

#[tokio::test]
async fn a_letter_of_which_nobody_knows_when_it_died_is_kept() {
    let queue = fixture::queue();
    let broker = connect(shared("dead-foreign").dead_ttl(millis(1))).await;
    assert_eq!(listed(&broker, &queue).await, []);
    let url = format!("{}/%2F", SERVER.url());
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("dead-foreign.{queue}.dead");
    let (options, plain) = (BasicPublishOptions::default(), BasicProperties::default().with_message_id("x".into()));
    channel.basic_publish("".into(), name.into(), options, b"hello", plain).await.unwrap();
    let found = eventually("it is there", PATIENCE, || async {
        Some(listed(&broker, &queue).await).filter(|ids| !ids.is_empty())
    })
    .await;
    assert_eq!(found, listed(&broker, &queue).await);
}

#[tokio::test]
async fn an_edited_letter_runs_in_its_place_at_the_level_it_asks_for() {
    let queue = fixture::queue();
    let broker = connect(shared("edited").payload(100)).await;
    let ids = bury(&broker, &queue, 3).await;
    let edited = |payload: usize| Replay {
        id: ids[1].clone(),
        edited: Some(Message {
            options: Options { priority: Some(Priority::Low), ..Options::default() },
            ..fixture::message(&queue, vec![b'7'; payload])
        }),
    };
    let error = broker.replay(&queue, &[ids[0].clone().into(), edited(101)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(listed(&broker, &queue).await, ids, "nothing was done");
    assert_eq!(broker.replay(&queue, &[ids[2].clone().into(), edited(100)]).await.unwrap(), 2);
    assert_eq!(listed(&broker, &queue).await, ids[..1]);
    let came = fetch_count(&broker, &queue, 2).await;
    let read = |delivery: &Delivery| {
        let message = delivery.content.as_ref().unwrap();
        assert_eq!(delivery.progress, Progress::default());
        (delivery.receipt.id.clone(), message.priority(), message.payload.len())
    };
    let first = read(&came[0]);
    assert_eq!((first.0, first.1), (ids[2].clone(), Priority::Normal));
    assert_eq!(read(&came[1]), (ids[1].clone(), Priority::Low, 100));
    acknowledge(&broker, &came).await;
}

#[tokio::test]
async fn what_is_discarded_is_gone_with_every_copy() {
    for kind in KINDS {
        let queue = fixture::queue();
        let prefix = format!("discard-{kind:?}").to_lowercase();
        let broker = connect(shared(&prefix).queue_type(kind)).await;
        let first = bury(&broker, &queue, 3).await;
        // A crash between the copy and the acknowledgement leaves two letters.
        let again = Message { id: first[1].clone(), ..fixture::message(&queue, "again") };
        publish(&broker, &[again]).await;
        let mut came = fetch_count(&broker, &queue, 1).await;
        came[0].progress.max_retries = Some(9);
        settle(&broker, &came, Disposition::DeadLetter).await;
        let page = broker.dead_letters(&queue, None, 10).await.unwrap();
        assert_eq!(page.letters.len(), 4);
        assert_eq!(page.letters[3].progress, Progress { max_retries: Some(9), ..Progress::default() });
        let wanted = [first[1].clone(), first[0].clone(), fixture::message(&queue, "unknown").id];
        assert_eq!(broker.discard(&queue, &wanted).await.unwrap(), 2);
        assert_eq!(listed(&broker, &queue).await, first[2..]);
        assert_eq!(broker.discard(&queue, &wanted).await.unwrap(), 0);
        assert_eq!(broker.discard(&queue, &[]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_could_be_lost_is_said() {
    let quorum = connect(shared("risks")).await;
    assert_eq!(quorum.risks(), [""; 0]);
    let classic = connect(shared("risks-classic").queue_type(QueueType::Classic)).await;
    let risks = classic.risks();
    assert!(risks.len() == 1 && risks[0].contains("classic queues are on one node"), "{risks:?}");
}
