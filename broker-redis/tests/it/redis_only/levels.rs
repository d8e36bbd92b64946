//! The lists of the priorities, and what they leave behind.

use windlass_core::{Broker, CancelOutcome, Disposition, ErrorKind, Message, Options, Priority, Schedule};
use windlass_testing::fixture;
use windlass_testing::servers::RedisServer;

use super::keys::lasting;
use super::*;

const URGENT_FIRST: [Priority; 4] = [Priority::Critical, Priority::High, Priority::Normal, Priority::Low];
const LISTS: [&str; 4] = ["critical", "high", "ready", "low"];

fn of(priority: Priority, message: Message) -> Message {
    let options = Options { priority: Some(priority), ..message.options };
    Message { options, ..message }
}

/// `count` messages of each priority, the least urgent first.
fn mixed(queue: &QueueName, count: usize) -> Vec<Message> {
    let of_one = |priority| fixture::messages(queue, count).into_iter().map(move |message| of(priority, message));
    Priority::ALL.into_iter().flat_map(of_one).collect()
}

fn priorities(deliveries: &[Delivery]) -> Vec<Priority> {
    deliveries.iter().map(|delivery| delivery.content.as_ref().unwrap().priority()).collect()
}

/// `count` of each priority, the most urgent first.
fn in_order(count: usize) -> Vec<Priority> {
    URGENT_FIRST.into_iter().flat_map(|priority| vec![priority; count]).collect()
}

fn lengths(server: &RedisServer, queue: &QueueName) -> Vec<String> {
    LISTS.map(|list| server.command(&["LLEN", &key(queue, list)])).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_level_is_left_whatever_way_its_tasks_go() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish(&broker, &mixed(&queue, 3)).await;
    let delayed = |message| Message { schedule: Schedule::After(millis(1)), ..message };
    publish(&broker, &mixed(&queue, 2).into_iter().map(delayed).collect::<Vec<_>>()).await;
    let mut ways = [
        Disposition::Release,
        Disposition::Requeue { after: Duration::ZERO },
        Disposition::Requeue { after: millis(1) },
        Disposition::DeadLetter,
    ]
    .into_iter();
    // A worker that is lost, once.
    let lost = broker.fetch(&FetchRequest { lease: millis(1), ..request(&queue, 20) }).await.unwrap();
    assert!(lost.len() >= 12);
    let mut settled = 0;
    while settled < 20 {
        let some = fetch_some(&broker, &queue, 20).await;
        let Some(way) = ways.next() else {
            settled += some.len();
            let (plain, remembered) = some.split_at(some.len() / 2);
            acknowledge(&broker, plain).await;
            let remember = |one| Settlement { remember: Some(LONG), ..settlement(one, Disposition::Acknowledge) };
            broker.settle(&remembered.iter().map(remember).collect::<Vec<_>>()).await.unwrap();
            continue;
        };
        settle(&broker, &some, way).await;
        if way == Disposition::DeadLetter {
            assert_eq!(broker.replay(&queue, &letters(&some)).await.unwrap(), some.len());
        }
    }
    assert_eq!(lasting(&server, &queue), ["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn normal_tasks_never_write_a_level() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 10).await;
    publish(&broker, &[of(Priority::Normal, fixture::message(&queue, "said"))]).await;
    let delayed = Message { schedule: Schedule::After(LONG), ..fixture::message(&queue, "later") };
    publish(&broker, &[delayed]).await;
    assert_eq!(server.command(&["EXISTS", &key(&queue, "level")]), "0");
    assert_eq!(lengths(&server, &queue), ["0", "0", "11", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_urgent_task_leaves_nothing() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let waiting = of(Priority::High, fixture::message(&queue, "now"));
    let delayed = of(Priority::Low, fixture::message(&queue, "later"));
    let delayed = Message { schedule: Schedule::After(LONG), ..delayed };
    publish(&broker, &[waiting.clone(), delayed.clone()]).await;
    for message in [&waiting, &delayed] {
        assert_eq!(broker.cancel(&queue, &message.id).await.unwrap(), CancelOutcome::Cancelled);
        assert_eq!(broker.locate(&queue, &message.id).await.unwrap(), None);
    }
    assert_eq!(server.command(&["EXISTS", &key(&queue, "level")]), "0");
    assert!(fetch(&broker, &queue, 10).await.is_empty());
    assert_eq!(lasting(&server, &queue), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_urgent_tasks_hold_up_nobody() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let urgent: Vec<Message> = fixture::messages(&queue, 300).into_iter().map(|m| of(Priority::Critical, m)).collect();
    publish(&broker, &urgent).await;
    for message in &urgent {
        broker.cancel(&queue, &message.id).await.unwrap();
    }
    let low = of(Priority::Low, fixture::message(&queue, "low"));
    publish(&broker, std::slice::from_ref(&low)).await;
    broker.ready(&queue, PATIENCE).await.unwrap();
    let found = fetch_some(&broker, &queue, 1).await;
    assert_eq!(ids(&found), [low.id]);
    acknowledge(&broker, &found).await;
    assert_eq!(lasting(&server, &queue), ["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_urgent_tasks_are_refused_and_all_levels_drain_in_order() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish(&broker, &mixed(&queue, 4)).await;
    let delayed = |message| Message { schedule: Schedule::After(millis(1)), ..message };
    publish(&broker, &mixed(&queue, 1).into_iter().map(delayed).collect::<Vec<_>>()).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = of(Priority::High, fixture::message(&queue, "no room"));
    let error = broker.publish(std::slice::from_ref(&refused)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
    assert_eq!(server.command(&["HEXISTS", &key(&queue, "level"), &refused.id.to_string()]), "0");
    let mut taken = fetch_some(&broker, &queue, 20).await;
    settle(&broker, &taken, Disposition::Release).await;
    // What was delayed is due by now, at the latest when the rest of it comes.
    while taken.len() < 20 {
        taken = fetch_some(&broker, &queue, 20).await;
        settle(&broker, &taken, Disposition::Requeue { after: Duration::ZERO }).await;
    }
    let all = fetch(&broker, &queue, 20).await;
    assert_eq!(priorities(&all), in_order(5));
    settle(&broker, &all[..3], Disposition::DeadLetter).await;
    acknowledge(&broker, &all[3..]).await;
    assert_eq!(server.command(&["EXISTS", &key(&queue, "level")]), "0");
    assert!(fetch(&broker, &queue, 20).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_go_back_into_their_own_list() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let large = |priority| {
        let messages = (0..6_u8).map(|number| fixture::message(&queue, vec![number; 1 << 20]));
        messages.map(|message| of(priority, message)).collect::<Vec<_>>()
    };
    let (normal, critical) = (large(Priority::Normal), large(Priority::Critical));
    let high = of(Priority::High, fixture::message(&queue, "high"));
    publish(&broker, &normal).await;
    publish(&broker, &critical).await;
    let mut taken = fetch(&broker, &queue, 100).await;
    publish(&broker, std::slice::from_ref(&high)).await;
    while taken.len() < 13 {
        let some = fetch(&broker, &queue, 100).await;
        assert!((1..=5).contains(&some.len()), "{} messages of 1 MiB in one fetch", some.len());
        taken.extend(some);
    }
    let expected: Vec<TaskId> = critical.into_iter().chain([high]).chain(normal).map(|message| message.id).collect();
    assert_eq!(ids(&taken), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_goes_to_the_heads_of_its_levels() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let (earlier, later) = (mixed(&queue, 2), mixed(&queue, 1));
    publish(&broker, &earlier).await;
    let taken = fetch(&broker, &queue, 100).await;
    publish(&broker, &later).await;
    settle(&broker, &taken, Disposition::Release).await;
    let expected = URGENT_FIRST.into_iter().flat_map(|priority| {
        let of_it = earlier.iter().chain(&later).filter(move |message| message.priority() == priority);
        of_it.map(|message| message.id.clone())
    });
    assert_eq!(ids(&fetch(&broker, &queue, 100).await), expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_wakes_the_next_for_what_is_not_normal() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    for priority in Priority::ALL {
        let queue = fixture::queue();
        let waiter = || {
            let (broker, queue) = (Arc::clone(&broker), queue.clone());
            tokio::spawn(async move {
                broker.ready(&queue, Duration::from_secs(5)).await.unwrap();
                fetch(&broker, &queue, 1).await.len()
            })
        };
        let waiters = [waiter(), waiter()];
        let start = std::time::Instant::now();
        let two: Vec<Message> = fixture::messages(&queue, 2).into_iter().map(|message| of(priority, message)).collect();
        publish(&broker, &two).await;
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), 1, "{priority}");
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{priority}: after {:?}", start.elapsed());
    }
}

/// A replayed dead letter finds its level in its envelope.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_does_not_choose_the_level() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let urgent = "\npriority=critical\n\n\npriority=critical\n";
    let messages = [
        fixture::message(&queue, urgent),
        of(Priority::Low, fixture::message(&queue, urgent)),
        of(Priority::High, fixture::message(&queue, "")),
    ];
    publish(&broker, &messages).await;
    let taken = fetch(&broker, &queue, 10).await;
    settle(&broker, &taken, Disposition::DeadLetter).await;
    assert_eq!(server.command(&["EXISTS", &key(&queue, "level")]), "0");
    assert_eq!(broker.replay(&queue, &letters(&taken)).await.unwrap(), 3);
    assert_eq!(lengths(&server, &queue), ["0", "1", "1", "1"]);
    assert_eq!(priorities(&fetch(&broker, &queue, 10).await), [Priority::High, Priority::Normal, Priority::Low]);
}

/// What another program wrote is no envelope; it is replayed as normal.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_are_no_messages_are_replayed() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    for (id, bytes) in [("a", ""), ("b", "no envelope"), ("c", "windlass/9 x\npriority=urgent\n\n")] {
        server.command(&["HSET", &key(&queue, "body"), id, bytes]);
        server.command(&["RPUSH", &key(&queue, "ready"), id]);
    }
    let taken = fetch(&broker, &queue, 10).await;
    settle(&broker, &taken, Disposition::DeadLetter).await;
    assert_eq!(broker.replay(&queue, &letters(&taken)).await.unwrap(), 3);
    assert_eq!(lengths(&server, &queue), ["0", "0", "3", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_refuses_urgent_tasks() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    for part in ["critical", "high", "low", "level"] {
        let queue = fixture::queue();
        server.command(&["SET", &key(&queue, part), "x"]);
        let error = broker.publish(&mixed(&queue, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{part}: {error:?}");
        assert!(error.to_string().contains(&key(&queue, part)), "{error}");
        server.command(&["DEL", &key(&queue, part)]);
        assert!(fetch(&broker, &queue, 10).await.is_empty(), "{part}: nothing was applied");
    }
}
