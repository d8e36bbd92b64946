//! How many may wait: counted exactly, whatever became of the others.

use windlass_core::broker::Overflow;
use windlass_core::{ErrorKind, Message, Options, Priority, Progress, QueueLimit, Schedule};
use windlass_testing::fixture;
use windlass_testing::servers::{Fault, FaultProxy, RedisServer};

use super::keys::lasting;
use super::*;

fn limited(message: Message, max: u64, overflow: Overflow) -> Message {
    Message { limit: Some(QueueLimit { max, overflow }), ..message }
}

fn messages(queue: &QueueName, count: usize, max: u64, overflow: Overflow) -> Vec<Message> {
    fixture::messages(queue, count).into_iter().map(|message| limited(message, max, overflow)).collect()
}

fn of(priority: Priority, message: Message) -> Message {
    let options = Options { priority: Some(priority), ..message.options };
    Message { options, ..message }
}

fn later(message: Message) -> Message {
    Message { schedule: Schedule::After(LONG), ..message }
}

fn message_ids(messages: &[Message]) -> Vec<TaskId> {
    messages.iter().map(|message| message.id.clone()).collect()
}

/// A letter for each: accepted, duplicate, full; and how many waited for those that found it full.
async fn tell(broker: &RedisBroker, messages: &[Message]) -> (String, Option<u64>) {
    let mut full = None;
    let letter = |outcome| match outcome {
        PublishOutcome::Accepted => 'A',
        PublishOutcome::Duplicate => 'D',
        PublishOutcome::Full { waiting } => {
            full = Some(waiting);
            'F'
        }
        PublishOutcome::Rejected(error) => panic!("{error}"),
    };
    (broker.publish(messages).await.unwrap().into_iter().map(letter).collect(), full)
}

/// The dead letters, in the order in which they died.
async fn dead(broker: &RedisBroker, queue: &QueueName) -> Vec<TaskId> {
    let page = broker.dead_letters(queue, None, 1000).await.unwrap();
    assert!(page.letters.iter().all(|letter| letter.reason.starts_with("the queue is full")), "{:?}", page.letters);
    page.letters.into_iter().map(|letter| letter.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_counted_exactly() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let reject = |count, max| messages(&queue, count, max, Overflow::Reject);
    assert_eq!(tell(&broker, &reject(3, 10)).await, ("AAA".to_owned(), None));
    // Delayed ones and those of a level count; claimed, cancelled and dead ones do not.
    let others = [later(fixture::message(&queue, "1")), of(Priority::High, fixture::message(&queue, "2"))];
    publish(&broker, &others).await;
    let more = reject(4, 10);
    assert_eq!(tell(&broker, &more).await.0, "AAAA");
    assert_eq!(tell(&broker, &reject(2, 10)).await, ("AF".to_owned(), Some(10)));
    let taken = fetch(&broker, &queue, 4).await;
    settle(&broker, &taken[..1], Disposition::DeadLetter).await;
    settle(&broker, &taken[1..2], Disposition::Requeue { after: LONG }).await;
    settle(&broker, &taken[2..3], Disposition::Release).await;
    broker.cancel(&queue, &more[3].id).await.unwrap();
    broker.cancel(&queue, &others[0].id).await.unwrap();
    // Eight wait for a worker or their time, one runs, one is dead, two are gone.
    assert_eq!(tell(&broker, &reject(5, 10)).await, ("AAAAF".to_owned(), Some(10)));
    acknowledge(&broker, &taken[3..]).await;
    assert_eq!(tell(&broker, &reject(1, 10)).await, ("F".to_owned(), Some(10)));
    assert_eq!(tell(&broker, &reject(1, 4)).await, ("F".to_owned(), Some(10)), "a limit that was lowered");
    assert_eq!(tell(&broker, &fixture::messages(&queue, 2)).await.0, "AA", "who has no limit is taken");
    assert_eq!(tell(&broker, &reject(1, 13)).await.0, "A");
    assert_eq!(tell(&broker, &reject(1, u64::MAX)).await.0, "A");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_still_knows_its_tasks() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let one = limited(Message { remember: Some(LONG), ..fixture::message(&queue, "1") }, 2, Overflow::Reject);
    let two = limited(later(fixture::message(&queue, "2")), 2, Overflow::Reject);
    let three = limited(fixture::message(&queue, "3"), 2, Overflow::Reject);
    let batch = [one.clone(), one.clone(), three.clone(), three.clone(), two.clone(), two.clone()];
    assert_eq!(tell(&broker, &batch).await, ("ADADFF".to_owned(), Some(2)), "a duplicate takes no room");
    assert_eq!(tell(&broker, &[one, three, two]).await, ("DDF".to_owned(), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_several_limits_travel_together() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let (queue, other) = (fixture::queue(), fixture::queue());
    let mut batch = fixture::messages(&queue, 2);
    batch.extend(messages(&queue, 2, 3, Overflow::Reject));
    batch.extend(messages(&other, 2, 1, Overflow::Reject));
    batch.extend(messages(&queue, 2, 5, Overflow::Reject));
    let outcomes = broker.publish(&batch).await.unwrap();
    let letters: String = outcomes
        .iter()
        .map(|outcome| match outcome {
            PublishOutcome::Accepted => 'A',
            PublishOutcome::Full { waiting } => char::from_digit(u32::try_from(*waiting).unwrap(), 10).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(letters, "AAA3A1AA");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_answer_that_is_lost_is_given_again() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let config = RedisBrokerConfig::new(proxy.url("redis")).operation_timeout(millis(200));
    let broker = connect_with(config.send_timeout(PATIENCE)).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 1).await;
    proxy.set(Fault::LoseAnswers);
    let publishing = tokio::spawn({
        let (broker, batch) = (Arc::clone(&broker), messages(&queue, 4, 3, Overflow::Reject));
        async move { tell(&broker, &batch).await }
    });
    let length = || server.command(&["LLEN", &key(&queue, "ready")]);
    eventually("the request arrives", PATIENCE, || async { (length() == "3").then_some(()) }).await;
    proxy.set(Fault::Pass);
    assert_eq!(publishing.await.unwrap(), ("AAFF".to_owned(), Some(3)));
    assert_eq!(length(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_never_exceed_the_limit() {
    let server = RedisServer::start();
    let queue = fixture::queue();
    let senders: Vec<_> = [connect(server.url()).await, connect(server.url()).await]
        .into_iter()
        .map(|broker| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut accepted = 0;
                for _ in 0..50 {
                    accepted += tell(&broker, &messages(&queue, 3, 100, Overflow::Reject)).await.0.matches('A').count();
                }
                accepted
            })
        })
        .collect();
    let mut accepted = 0;
    for sender in senders {
        accepted += sender.await.unwrap();
    }
    assert_eq!((accepted, server.command(&["LLEN", &key(&queue, "ready")])), (100, "100".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_the_least_urgent_goes() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let low: Vec<_> = fixture::messages(&queue, 2).into_iter().map(|message| of(Priority::Low, message)).collect();
    let normal = fixture::messages(&queue, 2);
    let critical = of(Priority::Critical, fixture::message(&queue, "critical"));
    let delayed = later(fixture::message(&queue, "delayed"));
    publish(&broker, &[&low[..], &normal, &[critical.clone(), delayed.clone()]].concat()).await;
    // Six wait; a cancelled one at the head is passed over.
    broker.cancel(&queue, &low[0].id).await.unwrap();
    let first = messages(&queue, 2, 5, Overflow::DropOldest);
    assert_eq!(tell(&broker, &first).await.0, "AA");
    assert_eq!(dead(&broker, &queue).await, message_ids(&[low[1].clone(), normal[0].clone()]));
    // Nothing less urgent is left: the newcomer of the lowest level goes itself.
    let newcomer = limited(of(Priority::Low, fixture::message(&queue, "low")), 5, Overflow::DropOldest);
    assert_eq!(tell(&broker, std::slice::from_ref(&newcomer)).await.0, "A");
    assert_eq!(dead(&broker, &queue).await.last(), Some(&newcomer.id));
    // A limit that was lowered: what waits for its time goes when nothing else waits.
    let last = limited(of(Priority::Critical, fixture::message(&queue, "last")), 1, Overflow::DropOldest);
    publish(&broker, std::slice::from_ref(&last)).await;
    let gone = dead(&broker, &queue).await;
    assert_eq!(gone.len(), 8, "{gone:?}");
    assert!(gone.contains(&critical.id) && gone.contains(&last.id) && !gone.contains(&delayed.id));
    let sooner = Message { schedule: Schedule::After(LONG / 2), ..fixture::message(&queue, "sooner") };
    let sooner = limited(sooner, 1, Overflow::DropOldest);
    publish(&broker, std::slice::from_ref(&sooner)).await;
    assert_eq!(dead(&broker, &queue).await.last(), Some(&sooner.id));
    assert_eq!(server.command(&["ZCARD", &key(&queue, "sched")]), "1");
    assert_eq!(server.command(&["EXISTS", &key(&queue, "level"), &key(&queue, "meta")]), "0");
    // What was dropped can be put back.
    let low = [low[1].id.clone().into()];
    assert_eq!(broker.replay(&queue, &low).await.unwrap(), 1);
    let back = fetch(&broker, &queue, 10).await;
    assert_eq!(back[0].content.as_ref().unwrap().priority(), Priority::Low);
    acknowledge(&broker, &back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_keeps_its_counts() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 1).await;
    let taken = fetch(&broker, &queue, 1).await;
    let progress = Progress { failures: 2, max_retries: Some(7), ..Progress::default() };
    let again = Disposition::Requeue { after: Duration::ZERO };
    broker.settle(&[Settlement { progress, ..settlement(&taken[0], again) }]).await.unwrap();
    publish(&broker, &messages(&queue, 1, 1, Overflow::DropOldest)).await;
    let page = broker.dead_letters(&queue, None, 10).await.unwrap();
    assert_eq!((page.letters.len(), page.letters[0].progress), (1, progress));
    assert_eq!(page.letters[0].reason, "the queue is full: it was the oldest of more than 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_messages_are_bounded_as_other_dead_letters() {
    let server = RedisServer::start();
    let broker = connect_with(RedisBrokerConfig::new(server.url()).dead_max(10)).await;
    let queue = fixture::queue();
    let batch = messages(&queue, 1000, 100, Overflow::DropOldest);
    publish(&broker, &batch).await;
    assert_eq!(dead(&broker, &queue).await, message_ids(&batch[890..900]), "the last to be dropped are kept");
    assert_eq!(server.command(&["LLEN", &key(&queue, "ready")]), "100");
    let taken = fetch(&broker, &queue, 1000).await;
    assert_eq!(ids(&taken), message_ids(&batch[900..]));
    acknowledge(&broker, &taken).await;
    for part in ["dead", "deadbody", "deadinfo"] {
        let life: i64 = server.command(&["PTTL", &key(&queue, part)]).parse().unwrap();
        assert!(life > 0, "{part} ends");
    }
    assert_eq!(lasting(&server, &queue), ["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_loads_on_a_call_is_bounded() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 5000).await;
    let mut left = 5000;
    while left > 10 {
        publish(&broker, &messages(&queue, 1, 10, Overflow::DropOldest)).await;
        let now: usize = server.command(&["LLEN", &key(&queue, "ready")]).parse().unwrap();
        assert!(now < left && left - now <= 1100, "from {left} to {now}");
        left = now;
    }
    assert_eq!(left, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_without_memory_and_beside_foreign_keys() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 3).await;
    let drop = messages(&queue, 1, 3, Overflow::DropOldest);
    for part in ["owner", "meta", "level", "critical", "high", "low", "deadbody", "deadinfo", "dead", "sched"] {
        server.command(&["SET", &key(&queue, part), "x"]);
        let error = broker.publish(&drop).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{part}: {error:?}");
        assert!(error.to_string().contains(&key(&queue, part)), "{error}");
        server.command(&["DEL", &key(&queue, part)]);
        assert_eq!(server.command(&["HLEN", &key(&queue, "body")]), "3", "{part}: nothing was applied");
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(broker.publish(&drop).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(server.command(&["HLEN", &key(&queue, "body")]), "3", "nothing was applied");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    publish(&broker, &drop).await;
    assert_eq!(dead(&broker, &queue).await.len(), 1);
}
