//! What virtual time cannot show: threads that block, and tasks that run at the same time.

use std::time::{Duration, Instant};

use windlass_core::Context;
use windlass_runtime::{Client, ClientSettings, WorkerBuilder, WorkerSettings};
use windlass_testing::Harness;

use crate::support::{Log, WORK};

/// A worker that keeps its leases as in production, on a thread of its own.
fn production(harness: &Harness) -> WorkerBuilder {
    WorkerBuilder::new(harness.client(), WorkerSettings::default())
}

#[test]
fn a_task_that_blocks_the_whole_runtime_keeps_its_lease() {
    const LEASE: Duration = Duration::from_millis(300);
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (one, other) = (runtime(), runtime());
    let runs = Log::new();
    let log = runs.clone();
    let work = move |context: Context, n: u32| {
        log.push(context.attempt());
        async move {
            // Wrong in an async task, and done all the time.
            std::thread::sleep(LEASE * 2);
            n
        }
    };
    let harness = one.block_on(async { Harness::new() });
    let start = |runtime: &tokio::runtime::Runtime, client: Client| {
        let builder = WorkerBuilder::new(&client, WorkerSettings::default());
        runtime.block_on(builder.lease(LEASE).register_fn(WORK, work.clone()).start()).unwrap()
    };
    let first = start(&one, harness.client().clone());
    let handle = one.block_on(harness.enqueue(WORK.call((1,)))).unwrap();
    // Not by a timer of that runtime: nobody drives it while its only thread is blocked.
    let begun = Instant::now();
    while runs.len() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not run");
        std::thread::yield_now();
    }
    // A second worker, on a runtime of its own, would take it over as soon as the lease is over.
    let memory = harness.broker().clone();
    let client = other.block_on(async {
        let backend = std::sync::Arc::new(harness.backend().clone());
        Client::new(std::sync::Arc::new(memory), Some(backend), ClientSettings::default())
    });
    let second = start(&other, client);
    assert_eq!(other.block_on(async { handle.result().await }).unwrap(), 1);
    assert!(begun.elapsed() > LEASE, "the runtime was blocked for longer than a lease: {:?}", begun.elapsed());
    let (first, second) = (one.block_on(first.shutdown()), other.block_on(second.shutdown()));
    assert_eq!((first.succeeded, first.lost, second.succeeded), (1, 0, 0));
    assert_eq!(runs.all(), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_place_runs_one_task_after_the_other_in_their_order() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |n: u32| {
        let log = log.clone();
        async move {
            log.push(n);
            tokio::task::yield_now().await;
            n
        }
    };
    harness.client().enqueue_many((0..1_000).map(|n| WORK.call((n,)))).await;
    let worker = production(&harness).concurrency(1).register_fn(WORK, work).start().await.unwrap();
    harness.drain().await;
    let runs = runs.all();
    let swapped = runs.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert_eq!((runs.len(), swapped), (1_000, 0), "tasks that came before one that was enqueued earlier");
    assert_eq!(worker.shutdown().await.succeeded, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_and_async_tasks_run_side_by_side() {
    use windlass_core::TaskDef;
    const BLOCK: TaskDef<(u32,), u32> = TaskDef::new("block");
    let harness = Harness::new();
    let (gate, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let wait = std::sync::Arc::new(wait);
    let block = move |n: u32| -> u32 {
        let _ = wait.lock().unwrap().recv();
        n
    };
    let worker =
        production(&harness).register_fn(BLOCK, block).register_fn(WORK, async |n: u32| n).start().await.unwrap();
    let blocked = harness.enqueue(BLOCK.call((1,))).await.unwrap();
    for n in 0..100 {
        assert_eq!(harness.run(WORK.call((n,))).await.unwrap(), n);
    }
    gate.send(()).unwrap();
    assert_eq!(blocked.result().await.unwrap(), 1);
    assert_eq!(worker.shutdown().await.succeeded, 101);
}
