//! The attempts of a task that did not end well.

use tokio::time::sleep;
use windlass_core::{Backoff, Context, ErrorKind, FailureKind, RetryOn, TaskDef};
use windlass_testing::fault::BackendCall;
use windlass_testing::{Harness, MemoryBroker};

use crate::support::{HOUR, Log, Node, WORK, claim, client, dead, default_queue, secs, until};

/// What each attempt was: its number, its kind, and its text.
async fn attempts(handle: &windlass_runtime::TaskHandle<u32>) -> Vec<(u32, FailureKind, String)> {
    let history = handle.history().await.unwrap();
    assert!(history.is_sorted_by_key(|attempt| attempt.at), "{history:?}");
    history.into_iter().map(|it| (it.failure.attempt, it.failure.kind, it.failure.message)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_attempt_that_went_wrong_is_written_down() {
    let harness = Harness::new();
    let work = |context: Context, n: u32| async move {
        match context.attempt() {
            1 => return Err("it is away"),
            2 => panic!("it is wrong"),
            3 => sleep(HOUR).await,
            _ => {}
        }
        Ok(n)
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).timeout("10s").backoff(Backoff::fixed(secs(60)))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 1);
    let written = attempts(&handle).await;
    assert_eq!(
        written,
        [
            (1, FailureKind::Error, "it is away".to_owned()),
            (2, FailureKind::Panic, "it is wrong".to_owned()),
            (3, FailureKind::Timeout, "the run took longer than 10s".to_owned()),
        ]
    );
    let history = handle.history().await.unwrap();
    let place = history[1].failure.location.as_deref().unwrap();
    assert!(place.contains("history.rs:") && place.matches(':').count() == 2, "{place}");
    assert_eq!(history[1].at.since(history[0].at), secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_fails_writes_nothing() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 1);
    harness.drain().await;
    let faults = harness.backend_faults();
    for call in [BackendCall::Write, BackendCall::Gather, BackendCall::Signal] {
        assert_eq!(faults.calls(call), 0, "{call:?}");
    }
    assert_eq!(handle.history().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_is_an_attempt_if_it_had_begun() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let handle = harness.enqueue(WORK.call((1,)).backoff(Backoff::fixed(secs(1)))).await.unwrap();
    // One that only fetched it is not to blame.
    assert_eq!(claim(&harness, secs(1)).await.len(), 1);
    harness.pass("2s").await;
    let begun = Log::new();
    let log = begun.clone();
    let hangs = move |_n: u32| {
        log.push(());
        async {
            sleep(HOUR).await;
            0_u32
        }
    };
    let _first = a.worker(|worker| worker.lease(secs(3)).register_fn(WORK, hangs)).await;
    until("a runs it", || begun.len() == 1).await;
    assert_eq!(handle.history().await.unwrap(), []);
    a.broker.outage(true);
    let work = |context: Context, n: u32| async move { if context.attempt() == 1 { Err("once") } else { Ok(n) } };
    let _second = b.worker(|worker| worker.lease(secs(3)).register_fn(WORK, work)).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    let written = attempts(&handle).await;
    assert_eq!(
        written,
        [
            (1, FailureKind::Lost, "the worker that ran it was lost".to_owned()),
            (1, FailureKind::Error, "once".to_owned())
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_second_life_of_a_dead_letter_is_written_behind_the_first() {
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.register_fn(WORK, async |_n: u32| Err::<u32, _>("boom"))).await;
    let call = WORK.call((1,)).max_retries(1).backoff(Backoff::fixed(secs(1)));
    let handle = harness.enqueue(call).await.unwrap();
    for life in 1..=2 {
        harness.drain().await;
        assert_eq!(dead(&harness).await.len(), 1);
        assert_eq!(attempts(&handle).await.len(), 2 * life);
        if life == 1 {
            assert_eq!(harness.client().replay(&default_queue(), &[handle.id().clone()]).await.unwrap(), 1);
        }
    }
    let numbers: Vec<u32> = attempts(&handle).await.into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers, [1, 2, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_written_costs_the_task_nothing() {
    let harness = Harness::new();
    harness.backend_faults().fail_before(BackendCall::Gather, 1, ErrorKind::Rejected);
    let work = |context: Context, n: u32| async move { if context.attempt() == 1 { Err("once") } else { Ok(n) } };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    assert_eq!(harness.backend_faults().calls(BackendCall::Gather), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_the_history_is_refused_with_the_cure() {
    let client = client(std::sync::Arc::new(MemoryBroker::new()), None);
    let handle = client.enqueue(WORK.call((1,))).await.unwrap();
    let error = handle.history().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("backend.url"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_retried_at_all_can_be_said() {
    // As YTask does: on errors and panics. As g_task does: on timeouts only.
    let ytask = RetryOn { timeouts: false, ..RetryOn::default() };
    let gtask = RetryOn { errors: false, timeouts: true, panics: false };
    const SLOW: TaskDef<(u32,), u32> = TaskDef::new("slow");
    let harness = Harness::new();
    let slow = |n: u32| async move {
        sleep(HOUR).await;
        n
    };
    let fails = async |_n: u32| Err::<u32, _>("boom");
    let _worker = harness.worker(|worker| worker.register_fn(WORK, fails).register_fn(SLOW, slow)).await;
    for (on, task, runs) in [(ytask, WORK, 3), (ytask, SLOW, 1), (gtask, WORK, 1), (gtask, SLOW, 3)] {
        let call = task.call((1,)).retry_on(on).timeout("1s").max_retries(2).backoff(Backoff::fixed(secs(1)));
        let handle = harness.enqueue(call).await.unwrap();
        harness.drain().await;
        assert_eq!(attempts(&handle).await.len(), runs, "{on} {}", task.name());
    }
}
