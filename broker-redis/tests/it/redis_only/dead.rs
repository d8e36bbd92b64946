//! Dead letters: edited, discarded, and gone when they are too old.

use windlass_core::{ErrorKind, Message, Options, Priority, Progress, QueueLimit, Schedule};
use windlass_testing::fixture;
use windlass_testing::servers::RedisServer;

use super::keys::lasting;
use super::*;

async fn die(broker: &RedisBroker, queue: &QueueName, count: usize) -> Vec<TaskId> {
    let ids = publish_count(broker, queue, count).await;
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(fetch(broker, queue, count).await);
    }
    settle(broker, &taken, Disposition::DeadLetter).await;
    ids
}

fn payloads(deliveries: &[Delivery]) -> Vec<String> {
    let payload = |delivery: &Delivery| delivery.content.as_ref().unwrap().payload.clone();
    deliveries.iter().map(|delivery| String::from_utf8(payload(delivery).to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_letter_is_the_same_task_at_its_new_level() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let progress = Progress { failures: 4, max_retries: Some(9), ..Progress::default() };
    publish_count(&broker, &queue, 3).await;
    let taken = fetch(&broker, &queue, 3).await;
    let dead: Vec<_> =
        taken.iter().map(|one| Settlement { progress, ..settlement(one, Disposition::DeadLetter) }).collect();
    broker.settle(&dead).await.unwrap();
    // Its id, queue, time and limit are those of the letter, not of what it was edited to.
    let elsewhere = Message {
        options: Options { priority: Some(Priority::High), ..Options::default() },
        schedule: Schedule::After(LONG),
        limit: Some(QueueLimit { max: 0, overflow: Default::default() }),
        ..fixture::message(&fixture::queue(), "edited")
    };
    let taken = ids(&taken);
    let letters = [
        Replay { id: taken[0].clone(), edited: None },
        Replay { id: taken[2].clone(), edited: Some(elsewhere) },
        Replay { id: taken[2].clone(), edited: None },
        Replay { id: TaskId::new("nobody").unwrap(), edited: Some(fixture::message(&queue, "nobody")) },
    ];
    assert_eq!(broker.replay(&queue, &letters).await.unwrap(), 2);
    let back = fetch(&broker, &queue, 10).await;
    assert_eq!(ids(&back), [taken[2].clone(), taken[0].clone()], "the urgent one first");
    assert_eq!(payloads(&back)[0], "edited");
    assert!(back.iter().all(|delivery| delivery.progress == Progress::default()), "fresh counts");
    acknowledge(&broker, &back).await;
    assert_eq!(broker.discard(&queue, &taken).await.unwrap(), 1);
    assert_eq!(lasting(&server, &queue), ["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_too_large_is_refused_before_anything_runs() {
    let server = RedisServer::start();
    let broker = connect_with(RedisBrokerConfig::new(server.url()).payload(10)).await;
    let queue = fixture::queue();
    let ids = die(&broker, &queue, 2).await;
    let letters = [
        Replay::from(ids[0].clone()),
        Replay { id: ids[1].clone(), edited: Some(fixture::message(&queue, "12345678901")) },
    ];
    let error = broker.replay(&queue, &letters).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(fetch(&broker, &queue, 10).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_edits_travel_in_several_calls() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let ids = die(&broker, &queue, 250).await;
    let edit = |(number, id): (usize, &TaskId)| Replay {
        id: id.clone(),
        edited: Some(fixture::message(&queue, vec![b'x'; if number < 6 { 1 << 20 } else { 10 }])),
    };
    let letters: Vec<Replay> = ids.iter().enumerate().map(edit).collect();
    assert_eq!(broker.replay(&queue, &letters).await.unwrap(), 250);
    assert_eq!(server.command(&["LLEN", &key(&queue, "ready")]), "250");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_one_call_are_listed_in_its_order() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let before = windlass_core::Timestamp::from_micros(1_600_000_000_000_000);
    let ids = [die(&broker, &queue, 300).await, die(&broker, &queue, 3).await].concat();
    let (mut cursor, mut listed) = (None, Vec::new());
    loop {
        let page = broker.dead_letters(&queue, cursor.as_deref(), 7).await.unwrap();
        assert!(page.letters.windows(2).all(|pair| pair[0].died_at < pair[1].died_at));
        assert!(page.letters.iter().all(|letter| letter.died_at > before));
        listed.extend(page.letters.into_iter().map(|letter| letter.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn discarded_letters_are_gone_and_counted_once() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let ids = die(&broker, &queue, 5).await;
    let nobody = [TaskId::new("nobody").unwrap()];
    assert_eq!(broker.discard(&queue, &[&ids[..3], &ids[..1], &nobody].concat()).await.unwrap(), 3);
    assert_eq!(broker.discard(&queue, &ids[..3]).await.unwrap(), 0);
    assert_eq!(broker.discard(&queue, &[]).await.unwrap(), 0);
    let left = broker.dead_letters(&queue, None, 10).await.unwrap();
    assert_eq!(left.letters.into_iter().map(|letter| letter.id).collect::<Vec<_>>(), ids[3..]);
    assert_eq!(server.command(&["HLEN", &key(&queue, "deadbody")]), "2");
    // The id is free again.
    let again = Message { id: ids[0].clone(), remember: Some(LONG), ..fixture::message(&queue, "again") };
    publish(&broker, &[again]).await;
    let waiting = ids[0].clone();
    assert_eq!(broker.discard(&queue, &[waiting]).await.unwrap(), 0, "only dead letters are discarded");
    assert_eq!(fetch(&broker, &queue, 10).await.len(), 1);
    server.command(&["DEL", &key(&queue, "deadinfo")]);
    server.command(&["SET", &key(&queue, "deadinfo"), "x"]);
    assert_eq!(broker.discard(&queue, &ids).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(server.command(&["ZCARD", &key(&queue, "dead")]), "2", "nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_died_too_long_ago_is_not_listed_and_goes_with_the_next() {
    let server = RedisServer::start();
    let broker = connect_with(RedisBrokerConfig::new(server.url()).dead_ttl(Duration::from_secs(60))).await;
    let queue = fixture::queue();
    let ids = die(&broker, &queue, 150).await;
    let dead = key(&queue, "dead");
    for id in &ids[..140] {
        server.command(&["ZADD", &dead, "1700000000000", id.to_string().as_str()]);
    }
    let page = broker.dead_letters(&queue, None, 1000).await.unwrap();
    assert_eq!((page.letters.len(), page.next), (10, None));
    let first = broker.dead_letters(&queue, None, 4).await.unwrap();
    let second = broker.dead_letters(&queue, first.next.as_deref(), 10).await.unwrap();
    assert_eq!((first.letters.len(), second.letters.len()), (4, 6));
    // In bounded steps.
    for left in [51, 12] {
        die(&broker, &queue, 1).await;
        assert_eq!(server.command(&["ZCARD", &dead]), left.to_string());
    }
    for part in ["deadbody", "deadinfo"] {
        assert_eq!(server.command(&["HLEN", &key(&queue, part)]), "12");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_own_number_of_retries_outlives_every_way() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 1).await;
    let mut progress = Progress { max_retries: Some(0), ..Progress::default() };
    for way in [
        Disposition::Requeue { after: Duration::ZERO },
        Disposition::Requeue { after: millis(1) },
        Disposition::Release,
    ] {
        let taken = fetch_some(&broker, &queue, 1).await;
        progress.failures += 1;
        broker.settle(&[Settlement { progress, ..settlement(&taken[0], way) }]).await.unwrap();
    }
    // A worker that is lost, twice: of the claim, and of a lease of its own.
    let lost = FetchRequest { lease: millis(1), ..request(&queue, 1) };
    assert_eq!(broker.fetch(&lost).await.unwrap()[0].progress, progress);
    progress.losses = 1;
    let again = fetch_some(&broker, &queue, 1).await;
    assert_eq!(again[0].progress, progress);
    broker.extend(&[again[0].receipt.clone()], millis(1)).await.unwrap();
    progress.losses = 2;
    let again = fetch_some(&broker, &queue, 1).await;
    assert_eq!(again[0].progress, progress);
    settle(&broker, &again, Disposition::DeadLetter).await;
    assert_eq!(broker.dead_letters(&queue, None, 1).await.unwrap().letters[0].progress, progress);
}
