//! What is left in Redis.

use windlass_core::{Broker, Disposition, Message, Settlement};
use windlass_testing::fixture;
use windlass_testing::servers::RedisServer;

use super::*;

/// The keys of the queue that nothing ends.
pub(super) fn lasting(server: &RedisServer, queue: &QueueName) -> Vec<String> {
    let keys = server.command(&["KEYS", "*"]);
    let lasting = keys.lines().filter(|key| server.command(&["PTTL", key]) == "-1");
    let stem = key(queue, "");
    lasting.map(|key| key.strip_prefix(&stem).expect("a key of the queue").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_leave_one_small_key() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 1_000).await;
    let remembered: Vec<Message> =
        fixture::messages(&queue, 50).into_iter().map(|message| Message { remember: Some(LONG), ..message }).collect();
    publish(&broker, &remembered).await;
    let mut rounds = 0;
    loop {
        let some = fetch(&broker, &queue, 100).await;
        if some.is_empty() {
            break;
        }
        rounds += 1;
        // Each way out once in a while.
        let disposition = match rounds {
            1 => Disposition::Release,
            2 => Disposition::Requeue { after: Duration::ZERO },
            _ => Disposition::Acknowledge,
        };
        let settlements: Vec<Settlement> = some
            .iter()
            .map(|delivery| {
                let remember = delivery.content.as_ref().unwrap().remember;
                Settlement { remember, ..settlement(delivery, disposition) }
            })
            .collect();
        assert_eq!(broker.settle(&settlements).await.unwrap(), vec![SettleOutcome::Settled; some.len()]);
    }
    assert!(rounds > 10);
    assert_eq!(lasting(&server, &queue), ["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_extended_claims_leave_nothing() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    publish_count(&broker, &queue, 20).await;
    let lost = broker.fetch(&FetchRequest { lease: millis(200), ..request(&queue, 10) }).await.unwrap();
    // Some get a lease of their own, some are settled, some are lost.
    let receipts: Vec<_> = lost[..4].iter().map(|delivery| delivery.receipt.clone()).collect();
    broker.extend(&receipts, LONG).await.unwrap();
    acknowledge(&broker, &lost[4..6]).await;
    let others = fetch(&broker, &queue, 10).await;
    acknowledge(&broker, &others).await;
    let again = fetch_some(&broker, &queue, 100).await;
    assert_eq!(ids(&again), ids(&lost[6..]), "what had no lease of its own comes back");
    assert!(again.iter().all(|delivery| delivery.progress.losses == 1));
    acknowledge(&broker, &again).await;
    // The others are still held: the whole rest of the claim can be extended as one again.
    let held = broker.extend(&receipts, LONG).await.unwrap();
    assert!(held.iter().all(|status| *status == windlass_core::LeaseStatus::Held));
    assert_eq!(server.command(&["EXISTS", &key(&queue, "solo")]), "0");
    broker.extend(&receipts[..2], millis(1)).await.unwrap();
    let single = fetch_some(&broker, &queue, 100).await;
    acknowledge(&broker, &single).await;
    let more = if single.len() < 2 { fetch_some(&broker, &queue, 100).await } else { Vec::new() };
    acknowledge(&broker, &more).await;
    assert_eq!(single.len() + more.len(), 2);
    acknowledge(&broker, &lost[2..4]).await;
    assert_eq!(lasting(&server, &queue), ["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_tasks_leave_nothing() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let ids = publish_count(&broker, &queue, 300).await;
    for id in &ids {
        broker.cancel(&queue, id).await.unwrap();
    }
    assert!(fetch(&broker, &queue, 100).await.is_empty());
    assert_eq!(lasting(&server, &queue), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_bounded_and_end() {
    let server = RedisServer::start();
    let config = RedisBrokerConfig::new(server.url()).dead_max(10).dead_ttl(Duration::from_secs(3_600));
    let broker = connect_with(config).await;
    let queue = fixture::queue();
    let ids = publish_count(&broker, &queue, 300).await;
    for _ in 0..3 {
        settle(&broker, &fetch(&broker, &queue, 100).await, Disposition::DeadLetter).await;
    }
    let page = broker.dead_letters(&queue, None, 100).await.unwrap();
    assert_eq!((page.letters.len(), page.next), (10, None));
    assert!(page.letters.iter().all(|letter| ids[200..].contains(&letter.id)), "the oldest went first");
    for part in ["dead", "deadbody", "deadinfo"] {
        let life: u64 = server.command(&["PTTL", &key(&queue, part)]).parse().unwrap();
        assert!(life > 3_500_000, "{part}: {life}");
    }
    assert_eq!(lasting(&server, &queue), ["seq"]);
}
