//! The cost of single steps.

use std::time::Duration;

use windlass_core::{Broker, Disposition, Message, Schedule};
use windlass_testing::fixture;
use windlass_testing::servers::RedisServer;

use super::*;

/// Numbers that `INFO commandstats` gives for commands that no script calls, and for scripts.
fn commands(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let calls = |name: &str| -> u64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
    };
    ["evalsha", "blpop", "ping", "client|unblock", "script|load", "client|id"].into_iter().map(calls).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_sends_one_command_a_second() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let wait = Duration::from_secs(2);
    assert!(fetch(&broker, &queue, 1).await.is_empty());
    broker.ready(&queue, wait).await.unwrap();
    let before = commands(&server);
    for _ in 0..2 {
        assert!(fetch(&broker, &queue, 1).await.is_empty());
        broker.ready(&queue, wait).await.unwrap();
    }
    let sent = commands(&server) - before;
    assert!((3..=5).contains(&sent), "{sent} commands in 4 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_lanes_share_one_read() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queues: Vec<_> = (0..8).map(|_| fixture::queue()).collect();
    let idle = |rounds: usize| {
        let lanes = queues.iter().cloned().map(|queue| {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move {
                for _ in 0..rounds {
                    assert!(fetch(&broker, &queue, 1).await.is_empty());
                    broker.ready(&queue, Duration::from_secs(2)).await.unwrap();
                }
            })
        });
        lanes.collect::<Vec<_>>()
    };
    for lane in idle(1) {
        lane.await.unwrap();
    }
    let before = commands(&server);
    for lane in idle(2) {
        lane.await.unwrap();
    }
    let sent = commands(&server) - before;
    // Sixteen fetches, one to three reads, and now and then one that is begun again.
    assert!((17..=26).contains(&sent), "{sent} commands in 4 s for 8 queues");
    assert_eq!(connections(&server), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lane_is_woken_by_its_own_queue() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queues: Vec<_> = (0..3).map(|_| fixture::queue()).collect();
    for round in 0..3 {
        for queue in &queues {
            let others = queues.iter().filter(|other| *other != queue);
            let waiting: Vec<_> = others
                .map(|queue| {
                    let (broker, queue) = (Arc::clone(&broker), queue.clone());
                    tokio::spawn(async move { broker.ready(&queue, Duration::from_secs(5)).await })
                })
                .collect();
            let ready = broker.ready(queue, Duration::from_secs(5));
            let messages = fixture::messages(queue, 1);
            let start = std::time::Instant::now();
            let (woken, ()) = tokio::join!(ready, publish(&broker, &messages));
            woken.unwrap();
            assert!(start.elapsed() < Duration::from_secs(1), "round {round}: woken after {:?}", start.elapsed());
            waiting.iter().for_each(tokio::task::JoinHandle::abort);
            acknowledge(&broker, &fetch(&broker, queue, 1).await).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn due_tasks_are_promoted_in_bounded_steps() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let delayed: Vec<Message> = fixture::messages(&queue, 20_000)
        .into_iter()
        .map(|message| Message { schedule: Schedule::After(millis(1_500)), ..message })
        .collect();
    publish(&broker, &delayed).await;
    assert_eq!(server.command(&["ZCARD", &key(&queue, "sched")]), "20000");
    let first = fetch_some(&broker, &queue, 10).await;
    assert!(first.len() <= 10);
    let left: usize = server.command(&["ZCARD", &key(&queue, "sched")]).parse().unwrap();
    assert!(left >= 20_000 - 2 * 200, "one step promoted {}", 20_000 - left);
    acknowledge(&broker, &first).await;
    let mut taken = first.len();
    while taken < 20_000 {
        let more = fetch_some(&broker, &queue, 1_000).await;
        assert!(more.len() <= 400, "{} came in one step", more.len());
        taken += more.len();
        acknowledge(&broker, &more).await;
    }
    assert_eq!(taken, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_come_in_several_fetches() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    let queue = fixture::queue();
    let messages: Vec<Message> = (0..10_u8).map(|number| fixture::message(&queue, vec![number; 1 << 20])).collect();
    publish(&broker, &messages).await;
    let mut taken = Vec::new();
    while taken.len() < messages.len() {
        let some = fetch(&broker, &queue, 100).await;
        assert!((1..=4).contains(&some.len()), "{} messages of 1 MiB in one fetch", some.len());
        taken.extend(some);
    }
    assert_eq!(ids(&taken), messages.iter().map(|message| message.id.clone()).collect::<Vec<_>>());
    settle(&broker, &taken, Disposition::DeadLetter).await;
    let mut listed = 0;
    let mut cursor = None;
    loop {
        let page = broker.dead_letters(&queue, cursor.as_deref(), 100).await.unwrap();
        assert!(page.letters.len() <= 6, "{} letters of 1 MiB on one page", page.letters.len());
        listed += page.letters.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, 10);
}
