//! How a worker ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::{Context, Interrupt};
use windlass_runtime::{Outcome, Worker, WorkerBuilder};
use windlass_testing::fault::BrokerCall;
use windlass_testing::{Harness, assert_enqueued};

use crate::support::{Dropped, HOUR, Log, Node, WORK, millis, secs, until};

/// Takes that long, and writes down each start.
fn slow(starts: &Log<u32>, takes: Duration) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let starts = starts.clone();
    let work = move |n: u32| {
        starts.push(n);
        async move {
            sleep(takes).await;
            n
        }
    };
    |worker| worker.register_fn(WORK, work)
}

async fn timed(worker: Worker) -> (windlass_runtime::Report, Duration) {
    let start = Instant::now();
    let report = worker.shutdown().await;
    (report, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_ends_at_once() {
    let harness = Harness::new();
    let worker = harness.worker(slow(&Log::new(), HOUR)).await;
    harness.pass("1m").await;
    let (report, took) = timed(worker).await;
    assert!(took < millis(100), "{took:?}");
    assert_eq!(report.abandoned, 0);
}

#[tokio::test(start_paused = true)]
async fn what_runs_may_finish_within_the_grace() {
    let harness = Harness::new();
    let starts = Log::new();
    let worker = harness.worker(slow(&starts, secs(20))).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || starts.len() == 1).await;
    let (report, took) = timed(worker).await;
    assert!(took > secs(19) && took < secs(21), "{took:?}");
    assert_eq!((report.succeeded, report.released, report.abandoned), (1, 0, 0), "{report}");
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_is_signalled_and_given_back_uncounted_at_the_head() {
    let harness = Harness::new();
    let (signals, drops) = (Log::new(), Log::new());
    let (told, dropped) = (signals.clone(), drops.clone());
    let work = move |context: Context, n: u32| {
        let (told, dropped) = (told.clone(), Dropped(dropped.clone()));
        async move {
            let _dropped = dropped;
            told.push((context.interrupted().await, Instant::now()));
            sleep(HOUR).await;
            n
        }
    };
    let build = |worker: WorkerBuilder| worker.concurrency(1).grace(secs(25)).register_fn(WORK, work);
    let worker = harness.worker(build).await;
    let first = harness.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    until("it runs", || harness.broker().counts().running == 1).await;
    let second = harness.enqueue(WORK.call((2,)).max_retries(0)).await.unwrap();
    let start = Instant::now();
    let (report, took) = timed(worker).await;
    assert!(took >= secs(27) && took < secs(28), "{took:?}");
    assert_eq!((report.released, report.failed, report.retried, report.abandoned), (1, 0, 0, 0), "{report}");
    let told = signals.all();
    assert_eq!((told.len(), told[0].0), (1, Interrupt::Shutdown));
    assert!(told[0].1 - start >= secs(25) && told[0].1 - start < secs(26));
    assert_eq!(drops.len(), 1, "the run was ended");

    let order = Log::new();
    let log = order.clone();
    let work = move |context: Context, n: u32| {
        log.push((n, context.attempt()));
        async move { n }
    };
    let _next = harness.worker(|worker| worker.concurrency(1).register_fn(WORK, work)).await;
    assert_eq!((first.result().await.unwrap(), second.result().await.unwrap()), (1, 2));
    assert_eq!(order.all(), [(1, 1), (2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_itself_on_the_signal_keeps_its_answer() {
    let harness = Harness::new();
    let work = |context: Context, n: u32| async move {
        context.interrupted().await;
        sleep(secs(1)).await;
        n
    };
    let worker = harness.worker(|worker| worker.grace(secs(5)).register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || harness.broker().counts().running == 1).await;
    let (report, took) = timed(worker).await;
    assert!(took < secs(7), "{took:?}");
    assert_eq!((report.succeeded, report.released), (1, 0), "{report}");
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_and_has_not_begun_is_given_back_in_its_order() {
    let harness = Harness::new();
    let starts = Log::new();
    let log = starts.clone();
    // Short tasks first, so that the worker fetches ahead; then one that holds the only place.
    let work = move |n: u32| {
        log.push(n);
        async move {
            sleep(if n < 100 { millis(1) } else { secs(10) }).await;
            n
        }
    };
    let worker = harness.worker(|worker| worker.concurrency(1).register_fn(WORK, work)).await;
    for n in 0..50 {
        harness.enqueue(WORK.call((n,))).await.unwrap();
    }
    harness.drain().await;
    let calls = (100..130).map(|n| WORK.call((n,)).max_retries(0));
    assert!(harness.client().enqueue_many(calls).await.iter().all(Result::is_ok));
    until("one runs", || starts.len() == 51).await;
    let claimed = harness.broker().counts().running as u64;
    assert!(claimed > 1 && claimed < 30, "{claimed} are claimed");
    let (report, took) = timed(worker).await;
    assert!(took < secs(11), "{took:?}");
    assert_eq!((report.succeeded, report.released, report.abandoned), (51, claimed - 1, 0), "{report}");
    assert_eq!(harness.broker().counts().queued, 29);
    let order = Log::new();
    let _next = harness.worker(|worker| slow(&order, millis(20))(worker.concurrency(1))).await;
    harness.drain().await;
    assert_eq!(order.all(), (101..130).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_without_the_broker_is_over_within_the_grace_and_seven_seconds() {
    let harness = Harness::new();
    let starts = Log::new();
    let worker = harness.worker(|worker| slow(&starts, HOUR)(worker.grace(secs(10)))).await;
    harness.client().enqueue_many((0..3).map(|n| WORK.call((n,)))).await;
    until("they run", || starts.len() == 3).await;
    harness.broker_faults().outage(true);
    harness.backend_faults().outage(true);
    let (report, took) = timed(worker).await;
    assert!(took <= secs(17) + millis(100), "{took:?}");
    assert_eq!(report.abandoned, 3, "{report}");
    // They come back when their lease is over.
    harness.broker_faults().outage(false);
    harness.backend_faults().outage(false);
    let again = Log::new();
    let _next = harness.worker(slow(&again, secs(1))).await;
    harness.drain().await;
    assert_eq!(again.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_abandoned_is_not_also_counted_as_ended() {
    let harness = Harness::new();
    let starts = Log::new();
    let worker = harness.worker(|worker| slow(&starts, secs(1))(worker.grace(secs(5)))).await;
    harness.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || starts.len() == 1).await;
    harness.broker_faults().outage(true);
    harness.backend_faults().outage(true);
    harness.pass("2s").await;
    let (report, _) = timed(worker).await;
    assert_eq!((report.succeeded, report.abandoned), (0, 1), "{report}");
}

/// The end of a worker whose calls of this kind are never answered.
async fn ends_in_time_without_answers_to(call: BrokerCall) {
    let harness = Harness::new();
    let starts = Log::new();
    let worker = harness.worker(|worker| slow(&starts, secs(1))(worker.grace(secs(10)).lease(secs(3)))).await;
    for nth in 1..=20 {
        harness.broker_faults().lose_answer(call, nth);
    }
    harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("5s").await;
    let (report, took) = timed(worker).await;
    assert!(took <= secs(17) + millis(100), "{took:?}, {report}");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_never_answered_does_not_hold_up_the_end() {
    ends_in_time_without_answers_to(BrokerCall::Fetch).await;
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_is_never_answered_does_not_hold_up_the_end() {
    ends_in_time_without_answers_to(BrokerCall::Extend).await;
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_is_never_answered_does_not_hold_up_the_end() {
    ends_in_time_without_answers_to(BrokerCall::Settle).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_whose_fetch_hangs_does_not_use_up_its_grace() {
    let harness = Harness::new();
    let worker = harness.worker(slow(&Log::new(), secs(1))).await;
    harness.broker_faults().lose_answer(BrokerCall::Fetch, 1);
    harness.pass("10s").await;
    let (_, took) = timed(worker).await;
    assert!(took < secs(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_waits_for_the_backend_ends_too() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    crate::support::claim(&harness, secs(10)).await;
    let starts = Log::new();
    let worker = harness.worker(slow(&starts, secs(1))).await;
    harness.pass("5s").await;
    harness.backend_faults().outage(true);
    harness.pass("15s").await;
    let (report, took) = timed(worker).await;
    assert!(took < secs(5), "{took:?}");
    assert_eq!((report.released, report.abandoned), (1, 0), "{report}");
    harness.backend_faults().outage(false);
    let _next = harness.worker(slow(&starts, secs(1))).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(starts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_worker_stops_its_fetching_and_lets_finish_what_runs() {
    let harness = Harness::new();
    let starts = Log::new();
    let worker = harness.worker(|worker| slow(&starts, secs(60))(worker.lease(secs(3)))).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || starts.len() == 1).await;
    drop(worker);
    harness.enqueue(WORK.call((2,))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 1);
    harness.pass("1h").await;
    assert_enqueued!(harness.broker(), "work", [2]);
    assert_eq!(starts.all(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_runs_until_its_end_is_ready() {
    let harness = Harness::new();
    let starts = Log::new();
    let worker = harness.worker(slow(&starts, secs(1))).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    let start = Instant::now();
    let report = worker.run_until(sleep(secs(100))).await;
    assert!(start.elapsed() >= secs(100));
    assert_eq!(report.succeeded, 1);
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_runs_on_another_worker_at_once() {
    let harness = Harness::new();
    let other = Node::beside(&harness);
    let starts = Log::new();
    let first = harness.worker(|worker| slow(&starts, HOUR)(worker.grace(secs(0)))).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    until("it runs", || starts.len() == 1).await;
    let _second = other.worker(slow(&starts, secs(1))).await;
    first.shutdown().await;
    let start = Instant::now();
    assert_eq!(handle.result().await.unwrap(), 1);
    assert!(start.elapsed() < secs(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_callback_has_the_grace_of_a_shutdown_too() {
    // It runs when the shutdown begins, or its task does.
    for ends in [false, true] {
        let (harness, told) = (Harness::new(), Log::new());
        let log = told.clone();
        let tell = move |_: Context, (n,): (u32,), _: Outcome<u32>| {
            let log = log.clone();
            async move {
                log.push((n, "begins"));
                sleep(secs(10)).await;
                log.push((n, "ends"));
            }
        };
        let work = async |n: u32| {
            sleep(secs(5)).await;
            n
        };
        let build = |worker: WorkerBuilder| worker.grace(secs(30)).register_fn(WORK, work).on_end_of(WORK, tell);
        let worker = harness.worker(build).await;
        harness.enqueue(WORK.call((1,))).await.unwrap();
        harness.pass(if ends { "6s" } else { "1s" }).await;
        assert_eq!(told.len() == 1, ends);
        let report = worker.shutdown().await;
        assert_eq!((report.abandoned, report.lost, report.succeeded), (0, 0, 1), "{report:?}");
        assert_eq!(told.all(), [(1, "begins"), (1, "ends")]);
    }
}
