//! Places of a fetch that are kept for the less urgent.

use windlass_core::{Message, Options, Priority, Reserve, Schedule};
use windlass_testing::fixture;
use windlass_testing::servers::RedisServer;

use super::keys::lasting;
use super::*;

const KEPT: Reserve = Reserve::NONE.with(Priority::High, 1).with(Priority::Normal, 2).with(Priority::Low, 3);

fn of(priority: Priority, message: Message) -> Message {
    let options = Options { priority: Some(priority), ..message.options };
    Message { options, ..message }
}

async fn publish_of(broker: &RedisBroker, queue: &QueueName, priority: Priority, count: usize) -> Vec<TaskId> {
    let messages: Vec<_> = fixture::messages(queue, count).into_iter().map(|message| of(priority, message)).collect();
    publish(broker, &messages).await;
    messages.into_iter().map(|message| message.id).collect()
}

fn keeping(queue: &QueueName, max: usize, reserve: Reserve) -> FetchRequest {
    FetchRequest { reserve, ..request(queue, max) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_each_level_come_in_the_order_of_urgency() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let low = publish_of(&broker, &queue, Priority::Low, 10).await;
    let normal = publish_of(&broker, &queue, Priority::Normal, 10).await;
    let high = publish_of(&broker, &queue, Priority::High, 10).await;
    let critical = publish_of(&broker, &queue, Priority::Critical, 10).await;
    let taken = broker.fetch(&keeping(&queue, 10, KEPT)).await.unwrap();
    assert_eq!(ids(&taken), [&critical[..4], &high[..1], &normal[..2], &low[..3]].concat());
    // Where nothing is kept, strictly.
    assert_eq!(ids(&fetch(&broker, &queue, 7).await), [&critical[4..], &high[1..2]].concat());
    // Of a level that is wanted for itself too, in its order.
    let taken = broker.fetch(&keeping(&queue, 12, KEPT)).await.unwrap();
    assert_eq!(ids(&taken), [&high[2..9], &normal[2..4], &low[3..6]].concat());
    // More is kept than there is room for.
    let taken = broker.fetch(&keeping(&queue, 2, KEPT)).await.unwrap();
    assert_eq!(ids(&taken), [&high[9..], &normal[4..5]].concat());
    // More is kept than waits.
    let many = Reserve::NONE.with(Priority::Low, 100).with(Priority::Critical, 100);
    let taken = broker.fetch(&keeping(&queue, 100, many)).await.unwrap();
    assert_eq!(ids(&taken), [&normal[5..], &low[6..]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_tasks_take_no_kept_place_and_nothing_is_left() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let low = publish_of(&broker, &queue, Priority::Low, 6).await;
    let high = publish_of(&broker, &queue, Priority::High, 6).await;
    for id in low[..2].iter().chain(&high[..2]) {
        broker.cancel(&queue, id).await.unwrap();
    }
    let delayed = Message { schedule: Schedule::After(millis(1)), ..fixture::message(&queue, "delayed") };
    publish(&broker, &[of(Priority::Low, delayed)]).await;
    let taken = broker.fetch(&keeping(&queue, 5, KEPT)).await.unwrap();
    assert_eq!(ids(&taken), [&high[2..4], &low[2..5]].concat());
    settle(&broker, &taken, Disposition::Release).await;
    let mut rest = Vec::new();
    while rest.len() < 9 {
        let some = broker.fetch(&keeping(&queue, 3, KEPT)).await.unwrap();
        acknowledge(&broker, &some).await;
        rest.extend(ids(&some));
    }
    assert_eq!(lasting(&server, &queue), ["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_that_do_not_fit_stay_at_the_head() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let large = |priority| of(priority, fixture::message(&queue, vec![7; 3 << 20]));
    let messages = [large(Priority::Low), large(Priority::Low), large(Priority::High)];
    publish(&broker, &messages).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let some = broker.fetch(&keeping(&queue, 10, Reserve::NONE.with(Priority::Low, 2))).await.unwrap();
        assert_eq!(some.len(), 1);
        taken.extend(ids(&some));
    }
    assert_eq!(taken, [0, 1, 2].map(|number: usize| messages[number].id.clone()));
}

/// How often the server ran each command, of those that a fetch may use.
fn commands(server: &RedisServer) -> Vec<String> {
    let stats = server.command(&["INFO", "commandstats"]);
    let calls = |line: &str| line.split(",usec").next().map(str::to_owned);
    let mut lines: Vec<String> = stats.lines().filter(|line| !line.contains("config")).filter_map(calls).collect();
    lines.retain(|line| !line.contains("info") && !line.contains("client"));
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_normal_tasks_pays_nothing_for_kept_places() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let mut costs = Vec::new();
    // The first round teaches the server the script.
    for reserve in [Reserve::NONE, Reserve::NONE, KEPT.with(Priority::Critical, 4)] {
        let queue = fixture::queue();
        publish_count(&broker, &queue, 300).await;
        server.command(&["CONFIG", "RESETSTAT"]);
        assert_eq!(broker.fetch(&keeping(&queue, 100, reserve)).await.unwrap().len(), 100);
        costs.push(commands(&server));
    }
    assert_eq!(costs[1], costs[2]);
    assert!(costs[1].iter().any(|line| line == "cmdstat_lpop:calls=1"), "{:?}", costs[1]);
}
