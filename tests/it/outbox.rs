//! Transactional enqueue over real servers, with relays in processes that are killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use windlass::{Config, ErrorKind, Outbox, OutboxConfig, State, Windlass};
use windlass_testing::servers::{PostgresServer, RabbitServer, RedisServer};

/// Says to a process that it is a relay: broker URL, outbox URL.
const ORDER: &str = "TEST_WINDLASS_RELAY";
const TRANSACTIONS: u64 = 10_000;
const WRITERS: u64 = 4;
const LIMIT: Duration = Duration::from_secs(60);

/// How often each task has run.
#[derive(Default, Clone)]
struct Runs(Arc<Mutex<HashMap<u64, u32>>>);

#[windlass::task]
async fn count(runs: State<Runs>, n: u64) {
    *runs.0.0.lock().expect("nothing panics").entry(n).or_default() += 1;
}

/// A relay process; killed when it is dropped.
struct RelayProcess(Child);

impl RelayProcess {
    fn start(broker: &str, outbox: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
            .args(["--exact", "outbox::relay_process", "--nocapture", "--test-threads=1"])
            .env(ORDER, format!("{broker} {outbox}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary can be started");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let ready = output.any(|line| line.is_ok_and(|line| line.contains("ready")));
        assert!(ready, "the relay ended at once");
        Self(child)
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn settings(url: &str) -> OutboxConfig {
    OutboxConfig::new(url).lease(Duration::from_secs(1)).poll(Duration::from_millis(200))
}

/// Not a test of its own: the code of the processes above. Without an order there is nothing to do.
#[test]
fn relay_process() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let (broker, url) = order.split_once(' ').expect("two URLs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let app = Windlass::builder().broker(broker).backend(url).connect().await.expect("they are there");
        let outbox = Outbox::connect(settings(url)).await.expect("the server is there");
        println!("ready");
        outbox.relay(Arc::clone(app.client().broker())).run(std::future::pending()).await;
    });
}

/// Commits every second transaction, and rolls the others back.
async fn write(app: Windlass, pool: PgPool, numbers: impl Iterator<Item = u64>) {
    for n in numbers {
        let mut transaction = pool.begin().await.expect("the server is there");
        sqlx::query("INSERT INTO orders VALUES ($1)").bind(n as i64).execute(&mut *transaction).await.expect("it can");
        app.enqueue_in(&mut *transaction, count::call(n)).await.expect("the tables are there");
        let end = if n % 2 == 0 { transaction.commit().await } else { transaction.rollback().await };
        end.expect("the server is there");
    }
}

/// Kills relay processes, two at a time, each after a random moment; answers how many.
fn kill_relays(broker: &str, outbox: &str, over: &AtomicBool) -> usize {
    let mut killed = 0;
    while !over.load(Ordering::Relaxed) {
        let relays = [0, 1].map(|_| RelayProcess::start(broker, outbox));
        std::thread::park_timeout(Duration::from_millis(u64::from(killed as u32 * 37 % 250)));
        killed += relays.len();
    }
    killed
}

/// Writes, with relays that are killed meanwhile; answers how often each of the committed tasks ran.
async fn run_the_committed_half(broker: &str, postgres: &PostgresServer) -> Vec<u32> {
    let pool = PgPoolOptions::new().max_connections(8).connect(&postgres.url()).await.expect("the server is there");
    sqlx::query("CREATE TABLE orders (number bigint PRIMARY KEY)").execute(&pool).await.expect("it is empty");
    let app = Windlass::builder()
        .broker(broker)
        .backend(postgres.url())
        .outbox_pool(pool.clone())
        .connect()
        .await
        .expect("they are there");
    // This worker relays nothing: it belongs to an application without an outbox.
    let runs = Runs::default();
    let plain = Windlass::builder().broker(broker).backend(postgres.url()).connect().await.expect("they are there");
    let worker = plain.worker().state(runs.clone()).register::<count>().start().await.expect("the settings are right");

    let over = Arc::new(AtomicBool::new(false));
    let killer = {
        let (broker, outbox, over) = (broker.to_owned(), postgres.url(), Arc::clone(&over));
        tokio::task::spawn_blocking(move || kill_relays(&broker, &outbox, &over))
    };
    let write = |writer| {
        let numbers = (writer * TRANSACTIONS / WRITERS)..((writer + 1) * TRANSACTIONS / WRITERS);
        tokio::spawn(write(app.clone(), pool.clone(), numbers))
    };
    let writers: Vec<_> = (0..WRITERS).map(write).collect();
    for writer in writers {
        writer.await.expect("it does not panic");
    }
    over.store(true, Ordering::Relaxed);
    let killed = killer.await.expect("it does not panic");
    assert!(killed >= 4, "{killed} relays were killed");

    let last = RelayProcess::start(broker, &postgres.url());
    let done = || runs.0.lock().expect("nothing panics").len() as u64 >= TRANSACTIONS / 2;
    let start = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let outbox = app.outbox().expect("it has one");
    while !done() || outbox.stats().await.expect("the server is there").pending > 0 {
        assert!(start.elapsed() < LIMIT, "{} ran", runs.0.lock().expect("nothing panics").len());
        tick.tick().await;
    }
    drop(last);
    worker.shutdown().await;
    let stored: Vec<i64> = sqlx::query_scalar("SELECT number FROM orders").fetch_all(&pool).await.expect("it is there");
    let runs = runs.0.lock().expect("nothing panics");
    assert_eq!(stored.len() as u64, TRANSACTIONS / 2);
    assert_eq!(runs.len() as u64, TRANSACTIONS / 2, "no other has run");
    let count = |number: i64| runs.get(&(number as u64)).copied().unwrap_or_default();
    stored.into_iter().map(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_committed_half_runs_once_though_relays_are_killed() {
    let (redis, postgres) = (RedisServer::start(), PostgresServer::start());
    let runs = run_the_committed_half(&redis.url(), &postgres).await;
    assert!(runs.iter().all(|runs| *runs == 1), "{runs:?}");
}

/// RabbitMQ cannot refuse a second message of a task: the backend keeps it from running again once
/// the first has ended.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_committed_half_runs_over_rabbitmq() {
    let (rabbit, postgres) = (RabbitServer::start(), PostgresServer::start());
    let runs = run_the_committed_half(&rabbit.url(), &postgres).await;
    assert!(runs.iter().all(|runs| (1..=2).contains(runs)), "{runs:?}");
    let doubled = runs.iter().filter(|runs| **runs == 2).count();
    assert!(doubled <= runs.len() / 20, "{doubled} ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_an_application_with_an_outbox_relays() {
    let (redis, postgres) = (RedisServer::start(), PostgresServer::start());
    let toml = format!("[broker]\nurl = {:?}\n[outbox]\nurl = {:?}\nschema = \"tasks\"", redis.url(), postgres.url());
    let config = Config::from_toml(&toml, None).expect("it is right");
    let app = Windlass::builder().config(config).connect().await.expect("the servers are there");
    let runs = Runs::default();
    let worker = app.worker().state(runs.clone()).register::<count>().start().await.expect("the settings are right");
    let pool = PgPool::connect(&postgres.url()).await.expect("the server is there");
    let mut transaction = pool.begin().await.expect("the server is there");
    let handles =
        app.enqueue_many_in(&mut *transaction, (0..100).map(count::call)).await.expect("the tables are there");
    transaction.commit().await.expect("the server is there");
    for handle in handles {
        handle.result_within(LIMIT).await.expect("it runs");
    }
    assert_eq!(worker.shutdown().await.to_string(), "100 succeeded");
    assert_eq!(runs.0.lock().expect("nothing panics").len(), 100);
    app.close().await;
}

#[tokio::test]
async fn an_application_without_an_outbox_says_so() {
    let app = Windlass::connect("memory://").await.expect("memory is always there");
    let pool = PgPool::connect_lazy("postgres://localhost").expect("nothing is connected");
    let error = app.enqueue_in(&pool, count::call(1)).await.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("outbox.url") && error.to_string().contains("outbox_pool"), "{error}");
}

#[tokio::test]
async fn a_wrong_outbox_is_refused_before_anything_is_connected() {
    let cases = [
        ("[outbox]\nurl = 'http://x'", "outbox.url"),
        ("[outbox]\nurl = 'postgres://localhost'\nlease = '1ms'", "outbox.lease: 1ms is not allowed"),
        ("[outbox]\nurl = 'postgres://localhost'\nschema = 'A'", "outbox.schema"),
        ("[outbox]\nurl = 'postgres://localhost'\nshema = 'a'", "unknown key `shema`"),
    ];
    for (section, expected) in cases {
        let config = Config::from_toml(&format!("broker.url = 'memory://'\n{section}"), None).expect("it can be read");
        let error = Windlass::builder().config(config).connect().await.expect_err("it is wrong");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
