//! Workers that are lost, and workers that come back after they were.

use tokio::time::{Instant, sleep};
use windlass_core::{Backend, Broker, Clock, Context, Delivery, Failure, FailureKind, Record, Retention, State};
use windlass_runtime::{ResultError, WorkerBuilder};
use windlass_testing::fault::{BackendCall, BrokerCall};
use windlass_testing::{Harness, TokioClock, fixture};

use crate::support::{HOUR, Log, Node, WORK, claim, dead, default_queue, secs, until};

/// Writes down attempt and time of each run under a name, and takes that many seconds.
fn named(
    name: &'static str,
    runs: &Log<(&'static str, u32)>,
    takes: u64,
) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let runs = runs.clone();
    let work = move |context: Context, n: u32| {
        runs.push((name, context.attempt()));
        async move {
            sleep(secs(takes)).await;
            n
        }
    };
    |worker| worker.lease(secs(3)).register_fn(WORK, work)
}

#[tokio::test(start_paused = true)]
async fn the_task_of_a_lost_worker_runs_elsewhere_and_no_attempt_is_counted() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    let start = Instant::now();
    assert_eq!(claim(&harness, secs(30)).await.len(), 1);
    let runs = Log::new();
    let _worker = harness.worker(named("b", &runs, 100)).await;
    harness.pass("50s").await;
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Running);
    assert_eq!(handle.result().await.unwrap(), 1);
    assert!(start.elapsed() >= secs(130) && start.elapsed() < secs(133), "{:?}", start.elapsed());
    assert_eq!(runs.all(), [("b", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_long_task_keeps_its_lease() {
    let harness = Harness::new();
    let runs = Log::new();
    let _a = harness.worker(named("a", &runs, 3_600)).await;
    let _b = harness.worker(named("b", &runs, 3_600)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    assert_eq!(runs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_cut_off_does_not_overwrite_the_result_of_the_next_one() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let runs = Log::new();
    let first = a.worker(named("a", &runs, 5)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("a runs it", || runs.len() == 1).await;
    a.broker.outage(true);
    let second = b.worker(named("b", &runs, 20)).await;
    harness.pass("10s").await;
    assert_eq!(runs.all(), [("a", 1), ("b", 1)]);
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Running, "what a answered is not taken");
    a.broker.outage(false);
    harness.pass("5s").await;
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Running);
    assert_eq!(handle.result().await.unwrap(), 1);
    let (first, second) = (first.shutdown().await, second.shutdown().await);
    assert_eq!((first.lost, first.succeeded, first.abandoned), (1, 0, 0), "{first}");
    assert_eq!((second.lost, second.succeeded), (0, 1), "{second}");
}

#[tokio::test(start_paused = true)]
async fn a_save_that_arrives_after_the_lease_was_lost_is_refused_and_counted() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let runs = Log::new();
    let first = a.worker(named("a", &runs, 1)).await;
    a.backend.delay(BackendCall::Save, 1, secs(10));
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("a runs it", || runs.len() == 1).await;
    a.broker.outage(true);
    let second = b.worker(named("b", &runs, 20)).await;
    harness.pass("8s").await;
    a.broker.outage(false);
    harness.pass("6s").await;
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Running, "the late save is refused");
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(runs.all(), [("a", 1), ("b", 1)]);
    let (first, second) = (first.shutdown().await, second.shutdown().await);
    assert_eq!((second.succeeded, second.lost), (1, 0), "{second}");
    assert_eq!((first.succeeded, first.lost, first.abandoned), (0, 1, 0), "{first}");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_lease_is_lost_is_stopped() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let runs = Log::new();
    let first = a.worker(named("a", &runs, 3_600)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("a runs it", || runs.len() == 1).await;
    a.broker.outage(true);
    let _second = b.worker(named("b", &runs, 5)).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    a.broker.outage(false);
    // It would run for an hour.
    until("a has noticed", || first.report().lost == 1).await;
    let start = Instant::now();
    let report = first.shutdown().await;
    assert!(start.elapsed() < secs(1), "{:?}", start.elapsed());
    assert_eq!((report.lost, report.succeeded, report.released, report.abandoned), (1, 0, 0, 0), "{report}");
}

/// Announces a task as a worker does before it runs it again.
async fn begin(harness: &Harness, claimed: &Delivery) {
    if claimed.progress.losses == 0 {
        return;
    }
    let kept = Retention::For(HOUR);
    let record = Record {
        id: claimed.receipt.id.clone(),
        token: claimed.receipt.token,
        state: State::Running,
        attempt: 1,
        at: TokioClock.now(),
        result: None,
        failure: None,
        status_ttl: kept,
        result_ttl: kept,
    };
    harness.backend().save(&[record]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_only_fetched_by_lost_workers_is_no_poison() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    for _ in 0..5 {
        assert_eq!(claim(&harness, secs(10)).await.len(), 1);
        harness.pass("11s").await;
    }
    let runs = Log::new();
    let _worker = harness.worker(named("b", &runs, 1)).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(dead(&harness).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_of_which_nothing_is_kept_is_poison_too() {
    let harness = Harness::new();
    harness.enqueue(WORK.call((1,)).status_ttl(Retention::None)).await.unwrap();
    let runs = Log::new();
    // Each has it when it is cut off from the broker for good; the last one only buries it.
    for lost in 1..=3 {
        let node = Node::beside(&harness);
        let worker = node.worker(named("lost", &runs, 3_600)).await;
        until("it runs", || runs.len() == lost).await;
        node.broker.outage(true);
        std::mem::forget(worker);
        harness.pass("45s").await;
    }
    let _last = harness.worker(named("last", &runs, 1)).await;
    until("it is buried", || harness.broker().counts().dead == 1).await;
    assert_eq!(runs.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_loses_three_workers_is_dead_lettered() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    for losses in 0..3 {
        let claimed = claim(&harness, secs(10)).await;
        assert_eq!(claimed[0].progress.losses, losses);
        begin(&harness, &claimed[0]).await;
        harness.pass("11s").await;
    }
    let runs = Log::new();
    let worker = harness.worker(named("b", &runs, 1)).await;
    let error = handle.result().await.unwrap_err();
    let ResultError::Failed { failure, .. } = error else { panic!("not failed: {error}") };
    assert_eq!(failure.kind, FailureKind::Lost);
    assert!(failure.message.contains('3'), "{failure}");
    harness.drain().await;
    let dead = dead(&harness).await;
    assert!(dead[0].reason.contains("3 workers were lost"), "{}", dead[0].reason);
    assert_eq!((dead[0].progress.losses, dead[0].progress.failures), (3, 0));
    assert_eq!(runs.len(), 0);
    assert_eq!(worker.shutdown().await.failed, 1);
}

#[tokio::test(start_paused = true)]
async fn two_lost_workers_are_survived() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    for _ in 0..2 {
        claim(&harness, secs(10)).await;
        harness.pass("11s").await;
    }
    let runs = Log::new();
    let _worker = harness.worker(named("b", &runs, 1)).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(runs.all(), [("b", 1)]);
}

/// A worker that has saved its result and died before it told the broker.
async fn saved_and_died(harness: &Harness, state: State) -> Vec<windlass_core::Delivery> {
    let claimed = claim(harness, secs(10)).await;
    let receipt = &claimed[0].receipt;
    let mut record = fixture::record_of(&receipt.id, receipt.token, state);
    record.result = (state == State::Succeeded).then(|| "77".into());
    harness.backend().save(&[record]).await.unwrap();
    harness.pass("11s").await;
    claimed
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_result_is_saved_already_is_not_run_again() {
    // Of a failed one nobody can tell whether it was put back from the dead letters since.
    for state in [State::Succeeded, State::Cancelled] {
        let harness = Harness::new();
        let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
        saved_and_died(&harness, state).await;
        let runs = Log::new();
        let worker = harness.worker(named("b", &runs, 1)).await;
        harness.drain().await;
        assert_eq!(runs.len(), 0, "{state} ran again");
        assert_eq!(handle.status().await.unwrap().unwrap().state, state);
        assert_eq!(dead(&harness).await.len(), 0);
        if state == State::Succeeded {
            assert_eq!(handle.result().await.unwrap(), 77);
        }
        assert_eq!(worker.shutdown().await.abandoned, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_third_loss_does_not_kill_a_task_whose_result_is_saved_already() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    for _ in 0..2 {
        claim(&harness, secs(10)).await;
        harness.pass("11s").await;
    }
    saved_and_died(&harness, State::Succeeded).await;
    let runs = Log::new();
    let worker = harness.worker(named("b", &runs, 1)).await;
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), 77);
    assert_eq!(dead(&harness).await.len(), 0, "it succeeded, and it is a dead letter");
    assert_eq!(worker.shutdown().await.failed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_was_put_back_survives_a_lost_worker() {
    let harness = Harness::new();
    let fail = |worker: WorkerBuilder| worker.register_fn(WORK, async |_n: u32| Err::<u32, _>("boom"));
    let broken = harness.worker(fail).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    assert!(handle.result().await.is_err());
    broken.shutdown().await;
    harness.broker().replay(&default_queue(), &[handle.id().clone().into()]).await.unwrap();
    assert_eq!(claim(&harness, secs(10)).await.len(), 1);
    harness.pass("11s").await;
    let runs = Log::new();
    let _mended = harness.worker(named("b", &runs, 1)).await;
    harness.drain().await;
    assert_eq!(runs.len(), 1, "it was not run: {:?}", dead(&harness).await);
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_saving_and_telling_the_broker_costs_no_second_run() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let runs = Log::new();
    let first = a.worker(named("a", &runs, 1)).await;
    let handle = harness.enqueue(WORK.call((5,))).await.unwrap();
    until("a runs it", || runs.len() == 1).await;
    a.broker.outage(true);
    assert_eq!(handle.result().await.unwrap(), 5, "the result is saved first");
    let second = b.worker(named("b", &runs, 1)).await;
    harness.drain().await;
    assert_eq!(runs.all(), [("a", 1)]);
    a.broker.outage(false);
    second.shutdown().await;
    let report = first.shutdown().await;
    assert_eq!(report.abandoned, 0, "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_same_claim_delivered_twice_runs_once() {
    let harness = Harness::new();
    harness.broker_faults().duplicate_fetch(1);
    let runs = Log::new();
    let worker = harness.worker(named("a", &runs, 5)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    harness.drain().await;
    assert_eq!(runs.len(), 1);
    assert_eq!(worker.shutdown().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_is_announced_though_the_backend_is_away_for_a_while() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    claim(&harness, secs(10)).await;
    for nth in 1..=5 {
        harness.backend_faults().fail_before(BackendCall::Save, nth, windlass_core::ErrorKind::Unavailable);
    }
    let runs = Log::new();
    let _worker = harness.worker(named("b", &runs, 1)).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(runs.all(), [("b", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_extension_is_repeated_before_the_lease_is_over() {
    let harness = Harness::new();
    let runs = Log::new();
    let worker = harness.worker(named("a", &runs, 3_600)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || runs.len() == 1).await;
    for _ in 0..50 {
        harness.broker_faults().fail_before(BrokerCall::Extend, 1, windlass_core::ErrorKind::Unavailable);
        harness.pass("3s").await;
    }
    assert_eq!(handle.result_within(HOUR).await.unwrap(), 1);
    assert_eq!(runs.len(), 1);
    assert_eq!(worker.shutdown().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_hidden_by_a_loss() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,)).max_retries(1)).await.unwrap();
    claim(&harness, secs(10)).await;
    harness.pass("11s").await;
    let fail = |worker: WorkerBuilder| worker.register_fn(WORK, async |_n: u32| Err::<u32, _>("boom"));
    let _worker = harness.worker(fail).await;
    let error = handle.result().await.unwrap_err();
    let ResultError::Failed { failure, .. } = error else { panic!("not failed: {error}") };
    assert_eq!(failure, Failure::new(FailureKind::Error, "boom", 2));
    until("it is dead", || harness.broker().counts().dead == 1).await;
    let progress = dead(&harness).await[0].progress;
    assert_eq!((progress.failures, progress.losses), (2, 1));
}

/// Three workers were lost that had only fetched it. Then one began and gave it back: that is no loss.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_given_back_after_losses_is_not_poison() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    for _ in 0..3 {
        assert_eq!(claim(&harness, secs(1)).await.len(), 1);
        sleep(secs(2)).await;
    }
    let runs = Log::new();
    let first = harness.worker(|worker| named("a", &runs, 3_600)(worker).grace(secs(1))).await;
    until("it has begun", || runs.len() == 1).await;
    assert_eq!(first.shutdown().await.released, 1);
    let _second = harness.worker(named("b", &runs, 1)).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(runs.all(), [("a", 1), ("b", 1)]);
}
