//! Worker processes are killed in the middle of workflows.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use windlass::{Config, Flow, FlowHandle, Windlass, map};

use crate::child::{self, Order, WorkerProcess, log, until};
use crate::stores::{Pair, Servers};

const FLOWS: u64 = 20;
const MEMBERS: u64 = 30;
const KILLS: usize = 4;
const CONCURRENCY: usize = 10;
const LIMIT: Duration = Duration::from_secs(90);

/// A group, a task that takes all of it, and one after that; no number is in two flows.
fn flow(number: u64) -> Flow<u64> {
    let members = map(0..MEMBERS, |member| child::work::call(number * 100 + member, 3 + member % 5));
    members.then(child::total::step(number)).then(child::work::step(2)).id(format!("flow-{number}"))
}

fn expected(number: u64) -> u64 {
    let sum: u64 = (0..MEMBERS).map(|member| (number * 100 + member).pow(2)).sum();
    sum * sum
}

/// How often each flow was joined.
fn joins(folder: &Path) -> HashMap<u64, usize> {
    let mut joins = HashMap::new();
    for (_, flow, _) in log(folder).into_iter().filter(|(what, ..)| what == "total") {
        *joins.entry(flow).or_default() += 1;
    }
    joins
}

async fn flows_go_on(pair: Pair) {
    let servers = Servers::default();
    let stores = servers.toml(pair);
    let folder = tempfile::tempdir().expect("a folder");
    let lease = Duration::from_secs(1);
    let order = Order { stores: &stores, folder: folder.path(), lease, concurrency: CONCURRENCY };
    let config = Config::from_toml(&stores, None).expect("it is right");
    let app = Windlass::builder().config(config).connect().await.expect("the servers are there");
    let mut handles: Vec<FlowHandle<u64>> = Vec::new();
    for number in 0..FLOWS {
        handles.push(app.enqueue_flow(flow(number)).await.expect("the server is there"));
    }
    let mut worker = WorkerProcess::start(&order);
    for kill in 1..=KILLS {
        until("more has begun", || log(folder.path()).len() >= kill * 250);
        worker.kill();
        worker = WorkerProcess::start(&order);
    }
    for (number, handle) in (0..).zip(&handles) {
        assert_eq!(handle.result_within(LIMIT).await.expect("every flow ends"), expected(number));
        let progress = handle.progress().await.expect("the server is there").expect("it is kept");
        assert_eq!((progress.succeeded as u64, progress.total() as u64), (MEMBERS + 2, MEMBERS + 2), "{progress:?}");
    }
    let joins = joins(folder.path());
    assert_eq!(joins.len() as u64, FLOWS);
    // A join that was killed while it ran is run again; nothing else makes it run twice.
    let again: usize = joins.values().map(|runs| runs - 1).sum();
    assert!(again <= KILLS * CONCURRENCY, "{joins:?}");
    let page = app.client().broker().dead_letters(&windlass::QueueName::default(), None, 10).await;
    assert!(page.expect("the server is there").letters.is_empty());
    let report = worker.terminate();
    assert!(!report.contains("failed"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_go_on_over_redis_whoever_is_killed() {
    flows_go_on(Pair::RedisRedis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_go_on_over_rabbitmq_and_postgres_whoever_is_killed() {
    flows_go_on(Pair::RabbitPostgres).await;
}
