//! Stores that are away for a while.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use windlass_core::limits::{BATCH_BYTES, PAYLOAD_BYTES};
use windlass_core::{ErrorKind, TaskDef};
use windlass_runtime::WorkerBuilder;
use windlass_testing::fault::{BackendCall, BrokerCall};
use windlass_testing::{Harness, MemoryBackend, MemoryBroker};

use crate::support::{Log, Picky, WORK, builder, client, secs, until};

/// Writes down each run.
fn counted(runs: &Log<u32>) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let runs = runs.clone();
    let work = move |n: u32| {
        runs.push(n);
        async move {
            sleep(secs(1)).await;
            n
        }
    };
    |worker| worker.lease(secs(3)).register_fn(WORK, work)
}

#[tokio::test(start_paused = true)]
async fn settling_is_repeated_until_the_broker_has_understood() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Rejected] {
        let harness = Harness::new();
        let runs = Log::new();
        let worker = harness.worker(counted(&runs)).await;
        for nth in 1..=20 {
            match kind {
                ErrorKind::Unknown => harness.broker_faults().fail_after(BrokerCall::Settle, nth),
                kind => harness.broker_faults().fail_before(BrokerCall::Settle, nth, kind),
            }
        }
        assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
        harness.drain().await;
        until("the settlement is through", || harness.broker_faults().calls(BrokerCall::Settle) > 20).await;
        assert_eq!(runs.len(), 1, "{kind:?}");
        let report = worker.shutdown().await;
        assert_eq!((report.succeeded, report.lost, report.abandoned), (1, 0, 0), "{kind:?}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_waits_for_its_backend_and_its_lease_is_kept_meanwhile() {
    let harness = Harness::new();
    let runs = Log::new();
    let worker = harness.worker(counted(&runs)).await;
    let other = harness.worker(counted(&runs)).await;
    for nth in 1..=30 {
        harness.backend_faults().fail_before(BackendCall::Save, nth, ErrorKind::Unavailable);
    }
    let start = Instant::now();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 1);
    assert!(start.elapsed() > secs(6), "two leases and more: {:?}", start.elapsed());
    harness.drain().await;
    assert_eq!(runs.len(), 1);
    let (one, two) = (worker.shutdown().await, other.shutdown().await);
    assert_eq!((one.succeeded + two.succeeded, one.lost + two.lost), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_save_whose_answer_got_lost_is_made_again() {
    let harness = Harness::new();
    let runs = Log::new();
    let worker = harness.worker(counted(&runs)).await;
    harness.backend_faults().fail_after(BackendCall::Save, 1);
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    harness.drain().await;
    assert_eq!(worker.shutdown().await.succeeded, 1);
    assert_eq!(runs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_goes_on_after_its_broker_was_away() {
    let harness = Harness::new();
    let runs = Log::new();
    harness.broker_faults().outage(true);
    let worker = harness.worker(counted(&runs)).await;
    harness.pass("10m").await;
    let calls = harness.broker_faults().calls(BrokerCall::Fetch);
    assert!((300..2_000).contains(&calls), "{calls} fetches in ten minutes");
    harness.broker_faults().outage(false);
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    let start = Instant::now();
    assert_eq!(handle.result().await.unwrap(), 1);
    assert!(start.elapsed() < secs(4), "{:?}", start.elapsed());
    assert_eq!(worker.shutdown().await.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_fails_does_not_stop_the_fetching() {
    let harness = Harness::new();
    let runs = Log::new();
    let _worker = harness.worker(counted(&runs)).await;
    for nth in 1..=3 {
        harness.broker_faults().fail_before(BrokerCall::Ready, nth, ErrorKind::Unavailable);
    }
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_broker_while_tasks_run_costs_no_result() {
    let harness = Harness::new();
    let runs = Log::new();
    let worker = harness.worker(counted(&runs)).await;
    let handles = harness.client().enqueue_many((0..50).map(|n| WORK.call((n,)))).await;
    until("they run", || runs.len() == 50).await;
    // Shorter than a lease, so nobody else may have them.
    harness.broker_faults().outage(true);
    harness.pass("2500ms").await;
    harness.broker_faults().outage(false);
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.unwrap().result().await.unwrap(), n);
    }
    harness.drain().await;
    assert_eq!(runs.len(), 50);
    let report = worker.shutdown().await;
    assert_eq!((report.succeeded, report.lost), (50, 0), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_away_for_longer_than_its_leases_asks_before_it_settles() {
    let harness = Harness::new();
    let runs = Log::new();
    let worker = harness.worker(counted(&runs)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || runs.len() == 1).await;
    harness.broker_faults().outage(true);
    harness.pass("60s").await;
    harness.broker_faults().outage(false);
    // Nobody else has taken it meanwhile, or this worker itself has: one result, either way.
    assert_eq!(handle.result().await.unwrap(), 1);
    harness.drain().await;
    let report = worker.shutdown().await;
    assert_eq!((report.succeeded, report.abandoned), (1, 0), "{report}");
    assert!(report.lost <= 1 && runs.len() <= 2, "{report}, {} runs", runs.len());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_backend_does_not_take_holds_up_no_other() {
    let broker = MemoryBroker::new();
    let saves = Log::new();
    let refused = Some("refused".parse().unwrap());
    let backend = Picky { inner: MemoryBackend::new(), saves, refused };
    let client = client(Arc::new(broker.clone()), Some(Arc::new(backend)));
    let runs = Log::new();
    // All in one batch, and then two batches more than can be under way.
    client.enqueue(WORK.call((0,)).id("refused")).await.unwrap();
    let handles = client.enqueue_many((1..10).map(|n| WORK.call((n,)))).await;
    let _worker = counted(&runs)(builder(&client)).start().await.unwrap();
    for (n, handle) in (1..).zip(handles) {
        assert_eq!(handle.unwrap().result_within(secs(600)).await.unwrap(), n);
    }
}

#[tokio::test(start_paused = true)]
async fn large_results_stay_within_the_bytes_of_one_batch() {
    const GROW: TaskDef<(u32,), String> = TaskDef::new("grow");
    let broker = MemoryBroker::new();
    let saves = Log::new();
    let backend = Picky { inner: MemoryBackend::new(), saves: saves.clone(), refused: None };
    let client = client(Arc::new(broker.clone()), Some(Arc::new(backend)));
    let handles = client.enqueue_many((0..12).map(|n| GROW.call((n,)))).await;
    let grow = |_n: u32| async move {
        sleep(secs(1)).await;
        "x".repeat(PAYLOAD_BYTES - 2)
    };
    let _worker = builder(&client).register_fn(GROW, grow).start().await.unwrap();
    for handle in handles {
        assert_eq!(handle.unwrap().result().await.unwrap().len(), PAYLOAD_BYTES - 2);
    }
    let largest = saves.all().into_iter().max().unwrap();
    assert!(largest <= BATCH_BYTES, "{largest} B in one call, at most {BATCH_BYTES} B are allowed");
}

/// A worker of which two calls of this kind are applied and never answered.
async fn goes_on_without_answers_to(call: BrokerCall) {
    let harness = Harness::new();
    let runs = Log::new();
    let _worker = harness.worker(counted(&runs)).await;
    harness.pass("10s").await;
    harness.broker_faults().lose_answer(call, 1);
    harness.broker_faults().lose_answer(call, 2);
    for n in 0..4 {
        let handle = harness.enqueue(WORK.call((n,))).await.unwrap();
        let result = handle.result_within(secs(3_600)).await;
        assert!(result.is_ok(), "task {n}: {result:?}");
    }
    until("they are settled", || harness.broker().counts().running == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_never_answered_does_not_stop_a_worker_for_ever() {
    goes_on_without_answers_to(BrokerCall::Fetch).await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_is_never_answered_does_not_stop_a_worker_for_ever() {
    goes_on_without_answers_to(BrokerCall::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_is_never_answered_does_not_stop_a_worker_for_ever() {
    goes_on_without_answers_to(BrokerCall::Settle).await;
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_is_never_answered_does_not_cost_every_later_lease() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |n: u32| {
        log.push(n);
        async move {
            sleep(secs(60)).await;
            n
        }
    };
    let worker = harness.worker(|worker| worker.lease(secs(6)).register_fn(WORK, work)).await;
    harness.broker_faults().lose_answer(BrokerCall::Extend, 1);
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    assert_eq!((runs.len(), worker.shutdown().await.lost), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_save_that_is_never_answered_does_not_stop_a_worker_for_ever() {
    let harness = Harness::new();
    let runs = Log::new();
    let _worker = harness.worker(counted(&runs)).await;
    harness.backend_faults().lose_answer(BackendCall::Save, 1);
    harness.backend_faults().lose_answer(BackendCall::Save, 2);
    for n in 0..4 {
        let handle = harness.enqueue(WORK.call((n,))).await.unwrap();
        let result = handle.result_within(secs(3_600)).await;
        assert!(result.is_ok(), "task {n}: {result:?}");
    }
    harness.drain().await;
    assert_eq!(harness.broker().counts().dead, 0);
}
