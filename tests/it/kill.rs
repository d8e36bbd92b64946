//! Worker processes and servers are killed in the middle of real work.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use windlass::{Config, TaskHandle, Windlass};
use windlass_testing::servers::RedisServer;

use crate::child::{self, Order, WorkerProcess, log, until};

const TASKS: u64 = 2000;
const CONCURRENCY: usize = 10;
/// Running, and fetched ahead (what is done in 10 ms, at 4 ms a task): what one worker can have
/// claimed at a time.
const CLAIMED: usize = CONCURRENCY * 4;
const LIMIT: Duration = Duration::from_secs(90);

fn redis_at(server: &RedisServer) -> String {
    format!("[broker]\nurl = {:?}\n", server.url())
}

async fn connect(stores: &str) -> Windlass {
    let config = Config::from_toml(stores, None).expect("it is right");
    Windlass::builder().config(config).connect().await.expect("the servers are there")
}

fn started(folder: &Path) -> usize {
    log(folder).iter().filter(|(what, ..)| what == "start").count()
}

async fn enqueue(app: &Windlass) -> Vec<TaskHandle<u64>> {
    let handles = app.enqueue_many((0..TASKS).map(|n| child::work::call(n, 4 + n % 3))).await;
    handles.into_iter().map(|handle| handle.expect("the server is there")).collect()
}

async fn check_results(handles: &[TaskHandle<u64>]) {
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.result_within(LIMIT).await.expect("every accepted task ends"), n * n);
    }
}

/// The processes that started each task, in order.
fn runs(folder: &Path) -> HashMap<u64, Vec<u32>> {
    let mut runs: HashMap<u64, Vec<u32>> = HashMap::new();
    for (_, n, pid) in log(folder).into_iter().filter(|(what, ..)| what == "start") {
        runs.entry(n).or_default().push(pid);
    }
    runs
}

async fn nothing_is_left(app: &Windlass, server: &RedisServer) {
    let page = app.client().broker().dead_letters(&windlass::QueueName::default(), None, 10).await;
    assert!(page.expect("the server is there").letters.is_empty());
    for part in ["ready", "body", "sched", "lease", "claims", "left", "owner", "meta"] {
        let key = format!("windlass:{{default}}:{part}");
        until(&key, || server.command(&["EXISTS", &key]).contains('0'));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_001_worker_killed_and_another_replaced() {
    let server = RedisServer::builder().append_only(true).start();
    let folder = tempfile::tempdir().expect("a folder");
    let stores = redis_at(&server);
    let order =
        Order { stores: &stores, folder: folder.path(), lease: Duration::from_secs(2), concurrency: CONCURRENCY };
    let app = connect(&stores).await;
    let handles = enqueue(&app).await;
    let killed = WorkerProcess::start(&order);
    let replaced = WorkerProcess::start(&order);

    until("a quarter has started", || started(folder.path()) >= 500);
    let killed_pid = killed.pid();
    killed.kill();
    until("half has started", || started(folder.path()) >= 1000);
    let report = replaced.terminate();
    assert!(report.ends_with("succeeded") || report.contains("released"), "{report}");
    let last = WorkerProcess::start(&order);

    check_results(&handles).await;
    let runs = runs(folder.path());
    assert_eq!(runs.len() as u64, TASKS);
    let extra: Vec<_> = runs.iter().filter(|(_, pids)| pids.len() > 1).collect();
    for (n, pids) in &extra {
        assert!(pids.len() == 2 && pids[0] == killed_pid, "task {n} ran in {pids:?}; killed was {killed_pid}");
    }
    assert!(extra.len() <= CLAIMED, "{} tasks ran twice", extra.len());
    nothing_is_left(&app, &server).await;
    let report = last.terminate();
    assert!(!report.contains("lost"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_052_redis_killed_and_restarted() {
    let mut server = RedisServer::builder().append_only(true).start();
    let folder = tempfile::tempdir().expect("a folder");
    let stores = redis_at(&server);
    let order =
        Order { stores: &stores, folder: folder.path(), lease: Duration::from_secs(3), concurrency: CONCURRENCY };
    let app = connect(&stores).await;
    let handles = enqueue(&app).await;
    let workers = [WorkerProcess::start(&order), WorkerProcess::start(&order)];

    until("a quarter has started", || started(folder.path()) >= 500);
    server.kill();
    server.restart();

    check_results(&handles).await;
    let runs = runs(folder.path());
    assert_eq!(runs.len() as u64, TASKS);
    let extra = runs.values().filter(|pids| pids.len() > 1).count();
    assert!(extra <= CLAIMED * workers.len(), "{extra} tasks ran twice");
    assert!(runs.values().all(|pids| pids.len() <= 2));
    nothing_is_left(&app, &server).await;
    for worker in workers {
        worker.terminate();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_010_stopped_worker_cannot_overwrite_what_the_new_owner_wrote() {
    for new_owner_has_ended in [true, false] {
        let server = RedisServer::start();
        let folder = tempfile::tempdir().expect("a folder");
        let stores = redis_at(&server);
        let order = Order { stores: &stores, folder: folder.path(), lease: Duration::from_millis(500), concurrency: 1 };
        let app = connect(&stores).await;
        let handle = app.enqueue(child::hold::call(1)).await.expect("the server is there");

        let first = WorkerProcess::start(&order);
        until("the first owner runs it", || started(folder.path()) == 1);
        first.signal("-STOP");
        let second = WorkerProcess::start(&order);
        until("the new owner runs it", || started(folder.path()) == 2);
        if !new_owner_has_ended {
            first.signal("-CONT");
        }
        std::fs::write(folder.path().join("go"), "").expect("the folder is there");
        assert_eq!(handle.result_within(LIMIT).await.expect("the new owner ends it"), second.pid());
        if new_owner_has_ended {
            first.signal("-CONT");
        }
        assert_eq!(first.terminate(), "0 succeeded, 1 lost");
        assert_eq!(handle.result().await.expect("it is kept"), second.pid());
        let status = handle.status().await.expect("the server is there").expect("it is kept");
        assert_eq!((status.state.as_str(), status.attempt), ("succeeded", 1));
        assert_eq!(second.terminate(), "1 succeeded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_015_handler_that_blocks_its_thread_keeps_its_lease() {
    let server = RedisServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let stores = redis_at(&server);
    let lease = Duration::from_millis(600);
    let order = Order { stores: &stores, folder: folder.path(), lease, concurrency: 1 };
    let app = connect(&stores).await;
    let handle = app.enqueue(child::block::call(1, 1200)).await.expect("the server is there");
    // Each has one thread for everything but its leases; the second would take it over.
    let workers = [WorkerProcess::start(&order), WorkerProcess::start(&order)];
    assert_eq!(handle.result_within(LIMIT).await.expect("it ends"), 1);
    let reports = workers.map(WorkerProcess::terminate);
    assert_eq!(started(folder.path()), 1, "{reports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_four_connections() {
    let server = RedisServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let stores = redis_at(&server);
    let order = Order { stores: &stores, folder: folder.path(), lease: Duration::from_millis(500), concurrency: 200 };
    let app = connect(&stores).await;
    let handles = enqueue(&app).await;
    check_nobody_else(&app).await;
    let worker = WorkerProcess::start(&order);
    until("half has started", || started(folder.path()) >= 1000);
    let clients = server.command(&["CLIENT", "LIST"]);
    // Commands and wake-up of the broker, commands and signals of the backend; one more asks here.
    assert!(clients.matches("id=").count() <= 4 + 1, "{clients}");
    until("all have started", || started(folder.path()) as u64 == TASKS);
    drop(handles);
    assert_eq!(worker.terminate(), format!("{TASKS} succeeded"));
}

/// Closes the connections of this process.
async fn check_nobody_else(app: &Windlass) {
    app.close().await;
    let error = app.enqueue(child::work::call(1, 1)).await.expect_err("it is closed");
    assert_eq!(error.kind(), windlass::ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_007_a_second_signal_gives_back_at_once() {
    let server = RedisServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let stores = redis_at(&server);
    let order = Order { stores: &stores, folder: folder.path(), lease: Duration::from_secs(30), concurrency: 1 };
    let app = connect(&stores).await;
    let handle = app.enqueue(child::hold::call(1)).await.expect("the server is there");
    let first = WorkerProcess::start(&order);
    until("it runs", || started(folder.path()) == 1);
    first.signal("-TERM");
    let start = std::time::Instant::now();
    assert_eq!(first.terminate(), "0 succeeded, 1 released");
    assert!(start.elapsed() < Duration::from_secs(10), "much less than the grace of 25 s");
    // It was given back uncounted, and runs at once although its lease would last half a minute.
    let second = WorkerProcess::start(&order);
    until("it runs again", || started(folder.path()) == 2);
    std::fs::write(folder.path().join("go"), "").expect("the folder is there");
    assert_eq!(handle.result_within(LIMIT).await.expect("it ends"), second.pid());
    assert_eq!(handle.status().await.expect("the server is there").expect("it is kept").attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_are_two_applications() {
    let server = RedisServer::start();
    let connect = async |prefix: &str| {
        let toml = format!("[broker]\nurl = '{}'\nprefix = '{prefix}'", server.url());
        let config = windlass::Config::from_toml(&toml, None).expect("it is right");
        Windlass::builder().config(config).connect().await.expect("the server is there")
    };
    let (one, other) = (connect("one").await, connect("other").await);
    let one = one.enqueue(child::work::call(1, 1).id("same")).await.expect("the server is there");
    let other = other.enqueue(child::work::call(1, 1).id("same")).await.expect("the server is there");
    assert!(one.is_new() && other.is_new());
    let worker = connect("one").await;
    let worker = worker
        .worker()
        .state(child::Folder::at(server.folder()))
        .register::<child::work>()
        .start()
        .await
        .expect("it starts");
    assert_eq!(one.result_within(LIMIT).await.expect("it ends"), 1);
    assert_eq!(other.status().await.expect("the server is there").expect("it waits").state.as_str(), "queued");
    worker.shutdown().await;
}
