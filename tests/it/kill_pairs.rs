//! Workers and servers are killed in the middle of real work, on the other combinations of stores.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use windlass::{Config, QueueName, TaskHandle, Windlass};

use crate::child::{self, Order, WorkerProcess, log, until};
use crate::stores::{Pair, Servers};

const TASKS: u64 = 1200;
const CONCURRENCY: usize = 10;
/// Running, and fetched ahead (what is done in 10 ms, at 4 ms a task): what one worker can have
/// claimed at a time.
const CLAIMED: usize = CONCURRENCY * 4;
const LIMIT: Duration = Duration::from_secs(90);

/// A combination of stores with work on it.
struct Scene {
    pair: Pair,
    servers: Servers,
    stores: String,
    folder: tempfile::TempDir,
    app: Windlass,
    handles: Vec<TaskHandle<u64>>,
}

impl Scene {
    async fn new(pair: Pair) -> Self {
        let servers = Servers::default();
        let stores = servers.toml(pair);
        let config = Config::from_toml(&stores, None).expect("it is right");
        let app = Windlass::builder().config(config).connect().await.expect("the servers are there");
        let handles = app.enqueue_many((0..TASKS).map(|n| child::work::call(n, 4 + n % 3))).await;
        let handles = handles.into_iter().map(|handle| handle.expect("the servers are there")).collect();
        Self { pair, servers, stores, folder: tempfile::tempdir().expect("a folder"), app, handles }
    }

    fn worker(&self) -> WorkerProcess {
        let folder = self.folder.path();
        let lease = Duration::from_secs(2);
        WorkerProcess::start(&Order { stores: &self.stores, folder, lease, concurrency: CONCURRENCY })
    }

    fn until_started(&self, count: usize) {
        until("so many have started", || starts(self.folder.path()).len() >= count);
    }

    /// Every task has its right result, none ran more than twice, and only so many ran twice.
    async fn ends_well(&self, most_doubled: usize) {
        for (n, handle) in (0..).zip(&self.handles) {
            assert_eq!(handle.result_within(LIMIT).await.expect("every accepted task ends"), n * n);
        }
        let mut runs: HashMap<u64, usize> = HashMap::new();
        for n in starts(self.folder.path()) {
            *runs.entry(n).or_default() += 1;
        }
        assert_eq!(runs.len() as u64, TASKS);
        assert!(runs.values().all(|runs| *runs <= 2), "{runs:?}");
        let doubled = runs.values().filter(|runs| **runs == 2).count();
        assert!(doubled <= most_doubled, "{doubled} tasks ran twice on {:?}", self.pair);
        let letters = self.app.dead_letters(&QueueName::default(), None, 10).await.expect("the servers are there");
        assert!(letters.letters.is_empty(), "{letters:?}");
    }
}

fn starts(folder: &Path) -> Vec<u64> {
    log(folder).into_iter().filter(|(what, ..)| what == "start").map(|(_, n, _)| n).collect()
}

async fn workers_are_killed(pair: Pair) {
    let scene = Scene::new(pair).await;
    let (killed, replaced) = (scene.worker(), scene.worker());
    scene.until_started(300);
    killed.kill();
    scene.until_started(600);
    let report = replaced.terminate();
    assert!(!report.contains("lost"), "{report}");
    let last = scene.worker();
    scene.ends_well(CLAIMED).await;
    let report = last.terminate();
    assert!(!report.contains("lost"), "{report}");
}

async fn servers_restart(pair: Pair, restart: impl FnOnce(&Servers)) {
    let scene = Scene::new(pair).await;
    let workers = [scene.worker(), scene.worker()];
    scene.until_started(300);
    restart(&scene.servers);
    scene.ends_well(CLAIMED * workers.len()).await;
    for worker in workers {
        worker.terminate();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_001_worker_killed_over_rabbitmq_and_postgres() {
    workers_are_killed(Pair::RabbitPostgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_001_worker_killed_over_redis_and_postgres() {
    workers_are_killed(Pair::RedisPostgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_080_rabbitmq_killed_and_restarted() {
    servers_restart(Pair::RabbitPostgres, |servers| servers.restart_broker(Pair::RabbitPostgres)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_080_rabbitmq_application_stopped_and_started() {
    servers_restart(Pair::RabbitRedis, |servers| {
        servers.rabbit_ctl(&["stop_app"]);
        servers.rabbit_ctl(&["start_app"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_088_postgres_restarted_in_mode_immediate() {
    servers_restart(Pair::RabbitPostgres, |servers| servers.restart_backend(Pair::RabbitPostgres)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_088_postgres_restarted_in_mode_immediate_beside_redis() {
    servers_restart(Pair::RedisPostgres, |servers| servers.restart_backend(Pair::RedisPostgres)).await;
}
