//! Three schedulers that fail, are killed and come back: each tick is one task.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::ErrorKind;
use windlass_core::periodic::tick_id;
use windlass_runtime::periodic::{MissedTicks, Periodic};
use windlass_testing::fault::BrokerCall;

use super::fleet::{Chaos, Fleet, Node, Running, report};

const MINUTE: Duration = Duration::from_secs(60);
const SEEDS: u64 = 12;

fn all(span: &str) -> Periodic {
    Periodic::every(span).missed(MissedTicks::All { max: 1000 })
}

/// Something may go wrong with one of the next calls of the broker.
fn trouble(node: &Node) {
    let nth = fastrand::usize(1..4);
    match fastrand::u8(..8) {
        0 => node.broker.fail_before(BrokerCall::Publish, nth, ErrorKind::Unavailable),
        1 => node.broker.fail_after(BrokerCall::Publish, nth),
        2 => node.broker.lose_answer(BrokerCall::Publish, nth),
        3 => node.broker.delay(BrokerCall::Publish, nth, Duration::from_secs(fastrand::u64(1..40))),
        _ => {}
    }
}

async fn one_run(seed: u64) {
    fastrand::seed(seed);
    let fleet = Fleet::new();
    let entries = [("often", "3s", 3), ("seldom", "47s", 47)];
    for (name, span, _) in entries {
        fleet.tasks.add(all(span).named(name), report()).await.unwrap();
    }
    let begin = fleet.tasks.get("often").await.unwrap().unwrap().last;
    let nodes: Vec<Node> = (0..3).map(|_| fleet.node(Chaos::new(8))).collect();
    let mut running: Vec<Running> = nodes.iter().map(|node| Running::start(&node.client)).collect();
    nodes.iter().for_each(trouble);
    let (mut ran, started) = (BTreeMap::new(), Instant::now());
    while started.elapsed() < MINUTE * 15 {
        sleep(Duration::from_millis(fastrand::u64(200..20_000))).await;
        let victim = fastrand::usize(..running.len());
        running.swap_remove(victim).kill().await;
        let node = &nodes[fastrand::usize(..nodes.len())];
        trouble(node);
        running.push(Running::start(&node.client));
        fleet.run_all(&mut ran).await;
    }
    // Peace: what was begun is ended.
    nodes.iter().for_each(|node| node.backend.chaos.over.store(true, Ordering::SeqCst));
    for survivor in running {
        survivor.kill().await;
    }
    for (name, ..) in entries {
        // No tick any more, but what is claimed is still to come.
        fleet.tasks.pause(name).await.unwrap();
    }
    let end = fleet.now();
    let last = fleet.scheduler();
    sleep(MINUTE * 3).await;
    last.stop().await;
    fleet.run_all(&mut ran).await;

    for (name, _, span) in entries {
        let done = fleet.tasks.get(name).await.unwrap().unwrap().last;
        assert!(end.since(done) < MINUTE * 7, "seed {seed}: {name} has not gone on since {:?}", end.since(done));
        let count = done.since(begin).as_secs() / span;
        assert!(count >= 8 * 60 / span, "seed {seed}: {name} came {count} times");
        for number in 1..=count {
            let id = tick_id(name, begin.plus(Duration::from_secs(number * span))).unwrap().to_string();
            assert_eq!(ran.remove(&id), Some(1), "seed {seed}: {id}");
        }
    }
    assert!(ran.is_empty(), "seed {seed}: nobody knows {ran:?}");
}

#[tokio::test(start_paused = true)]
async fn each_tick_is_exactly_one_task() {
    for seed in 0..SEEDS {
        one_run(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_schedulers_in_peace_publish_each_tick_once() {
    let fleet = Fleet::new();
    fleet.tasks.add(all("10s").named("x"), report()).await.unwrap();
    let nodes: Vec<Node> = (0..3).map(|_| fleet.node(Chaos::new(0))).collect();
    let running: Vec<Running> = nodes.iter().map(|node| Running::start(&node.client)).collect();
    sleep(MINUTE * 10 + Duration::from_secs(5)).await;
    for scheduler in running {
        scheduler.stop().await;
    }
    assert_eq!(fleet.waiting().len(), 60);
    let publishes: usize = nodes.iter().map(|node| node.broker.calls(BrokerCall::Publish)).sum();
    assert_eq!(publishes, 60, "who has lost the claim does not publish");
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_each_step_alone_leaves_one_task() {
    // The first round of a scheduler over a due entry reads, claims, (publishes) and clears.
    for broken in ["before", "after", "lost"] {
        for nth in 1..=3 {
            let fleet = Fleet::new();
            fleet.tasks.add(all("10m").named("x"), report()).await.unwrap();
            sleep(MINUTE * 10).await;
            let node = fleet.node(Chaos::default());
            match broken {
                "before" => node.broker.fail_before(BrokerCall::Publish, nth, ErrorKind::Unavailable),
                "after" => node.broker.fail_after(BrokerCall::Publish, nth),
                _ => node.broker.lose_answer(BrokerCall::Publish, nth),
            }
            let scheduler = Running::start(&node.client);
            sleep(MINUTE * 25).await;
            scheduler.stop().await;
            assert_eq!(fleet.waiting().len(), 3, "{broken} at {nth}: {:?}", fleet.waiting());
        }
    }
}
