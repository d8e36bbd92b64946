//! Functions of the application that are told how tasks have ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use windlass_core::{Backoff, Context, ErrorKind, FailureKind, State, TaskDef, TaskError};
use windlass_runtime::{Outcome, WorkerBuilder};
use windlass_testing::Harness;
use windlass_testing::fault::{BackendCall, FaultyBroker};

use crate::flow::ADD;
use crate::support::{Log, Node, WORK, builder, secs, until};

/// 1 succeeds, 2 fails, 3 panics, 4 cancels itself.
async fn work(n: u32) -> Result<u32, TaskError> {
    match n {
        1 => Ok(10),
        2 => Err("it is broken".into()),
        3 => panic!("it is wrong"),
        _ => Err(TaskError::cancel("not wanted any more")),
    }
}

/// Writes down what it is told.
fn telling(log: &Log<(u32, Outcome<u32>)>) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let log = log.clone();
    move |worker| {
        worker.register_fn(WORK, work).on_end_of(WORK, move |_context, (n,), outcome| {
            log.push((n, outcome));
            async {}
        })
    }
}

#[tokio::test(start_paused = true)]
async fn each_end_is_told_with_the_arguments_and_the_outcome() {
    let harness = Harness::new();
    let log = Log::new();
    let _worker = harness.worker(telling(&log)).await;
    for n in 1..=4 {
        let call = WORK.call((n,)).max_retries(2).backoff(Backoff::fixed(secs(1)));
        let _ = harness.run(call).await;
    }
    harness.drain().await;
    let [(1, Outcome::Succeeded(10)), (2, Outcome::Failed(error)), (3, Outcome::Failed(panic)), (4, cancelled)] =
        &log.all()[..]
    else {
        panic!("told: {:?}", log.all());
    };
    assert_eq!((error.kind, &*error.message, error.attempt), (FailureKind::Error, "it is broken", 3));
    assert_eq!((panic.kind, &*panic.message, panic.attempt), (FailureKind::Panic, "it is wrong", 3));
    assert_eq!(*cancelled, Outcome::Cancelled { reason: Some("not wanted any more".to_owned()) });
}

#[tokio::test(start_paused = true)]
async fn what_was_not_started_in_time_is_told_too() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,)).expires("10s")).await.unwrap();
    harness.pass("11s").await;
    let log = Log::new();
    let _worker = harness.worker(telling(&log)).await;
    harness.drain().await;
    assert_eq!(log.all(), [(1, Outcome::Expired)]);
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_after_the_outcome_is_saved_and_while_the_claim_is_kept() {
    let harness = Harness::new();
    let client = harness.client().clone();
    let seen = Log::new();
    let (log, memory) = (seen.clone(), harness.broker().clone());
    let look = move |context: Context, (_n,): (u32,), _outcome: Outcome<u32>| {
        let (log, memory) = (log.clone(), memory.clone());
        let handle = client.handle_of::<u32>(context.id().clone(), context.queue().clone());
        async move {
            // Longer than three leases.
            sleep(secs(10)).await;
            log.push((handle.status().await.unwrap().unwrap().state, memory.counts().running));
        }
    };
    let slow = |worker: WorkerBuilder| worker.lease(secs(3)).register_fn(WORK, work).on_end_of(WORK, look);
    let worker = harness.worker(slow).await;
    let other = harness.worker(|worker| worker.lease(secs(3)).register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 10);
    harness.drain().await;
    let both = (worker.shutdown().await, other.shutdown().await);
    // Only one of the two workers tells, and only one of them may have run it.
    assert_eq!(both.0.succeeded + both.1.succeeded, 1);
    assert_eq!(both.0.lost + both.1.lost, 0);
    if both.0.succeeded == 1 {
        assert_eq!(seen.all(), [(State::Succeeded, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_a_callback_does_changes_the_outcome_or_stops_the_next_one() {
    let harness = Harness::new();
    let told = Log::new();
    let log = told.clone();
    let worker = harness
        .worker(|worker| {
            worker
                .register_fn(WORK, work)
                .callback_timeout(secs(5))
                .on_end_of(WORK, async |_, (_,), _| Err::<(), _>("it cannot write its mail"))
                .on_end_of(WORK, async |_, (n,), _| assert_eq!(n, 0, "it is wrong"))
                .on_end_of(WORK, async |_, (_,), _| sleep(Duration::from_secs(3_600)).await)
                .on_end_of_all(move |context, args, outcome| {
                    log.push((context.task().to_string(), args, outcome.state()));
                    async {}
                })
        })
        .await;
    let start = Instant::now();
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), 10);
    assert!(start.elapsed() >= secs(5) && start.elapsed() < secs(6), "{:?}", start.elapsed());
    assert_eq!(told.all(), [("work".to_owned(), "[1]".into(), State::Succeeded)]);
    assert_eq!(worker.shutdown().await.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_from_a_lost_worker_tells_again() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let log = Log::new();
    let said = |name: &'static str| {
        let log = log.clone();
        move |worker: WorkerBuilder| {
            worker.lease(secs(3)).register_fn(WORK, work).on_end_of(WORK, move |_, (_,), outcome: Outcome<u32>| {
                log.push((name, outcome));
                async {}
            })
        }
    };
    let _first = a.worker(said("a")).await;
    // It saves, tells its callback, and is cut off before it can tell the broker.
    a.backend.delay(BackendCall::Save, 1, secs(1));
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("a saves", || a.backend.calls(BackendCall::Save) == 1).await;
    a.broker.outage(true);
    until("a has told", || log.len() == 1).await;
    let second = b.worker(said("b")).await;
    until("b has told", || log.len() == 2).await;
    harness.drain().await;
    assert_eq!(log.all(), [("a", Outcome::Succeeded(10)), ("b", Outcome::Succeeded(10))]);
    assert_eq!(handle.result().await.unwrap(), 10);
    assert_eq!(second.shutdown().await.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_lost_the_task_tells_nothing() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let log = Log::new();
    let said = |name: &'static str, takes: u64| {
        let log = log.clone();
        let work = move |_n: u32| async move {
            sleep(secs(takes)).await;
            7
        };
        move |worker: WorkerBuilder| {
            worker.lease(secs(3)).register_fn(WORK, work).on_end_of(WORK, move |_, (_,), outcome: Outcome<u32>| {
                log.push((name, outcome));
                async {}
            })
        }
    };
    let first = a.worker(said("a", 1)).await;
    a.backend.delay(BackendCall::Save, 1, secs(10));
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("a saves", || a.backend.calls(BackendCall::Save) == 1).await;
    a.broker.outage(true);
    let _second = b.worker(said("b", 20)).await;
    harness.pass("8s").await;
    a.broker.outage(false);
    assert_eq!(handle.result().await.unwrap(), 7);
    until("a has noticed", || first.report().lost == 1).await;
    harness.drain().await;
    assert_eq!(log.all(), [("b", Outcome::Succeeded(7))]);
}

#[tokio::test(start_paused = true)]
async fn a_callback_of_a_task_that_nobody_runs_is_refused_at_the_start() {
    const OTHER: TaskDef<(), ()> = TaskDef::new("other");
    let harness = Harness::new();
    let built = builder(harness.client()).register_fn(WORK, work).on_end_of(OTHER, async |_, (), _| ());
    let error = built.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"other\""), "{error}");
}

async fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// A task of a workflow is told of with all that it was given, also by who takes over from a lost worker.
#[tokio::test(start_paused = true)]
async fn a_task_with_an_input_is_told_of_with_what_it_was_given() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let log = Log::new();
    let said = |name: &'static str, cut: Option<Arc<FaultyBroker>>| {
        let (typed, all) = (log.clone(), log.clone());
        move |worker: WorkerBuilder| {
            let tell_typed = move |_: Context, (a, b): (i64, i64), outcome: Outcome<i64>| {
                typed.push(format!("{name}: add({a}, {b}) {outcome:?}"));
                async {}
            };
            let tell_all = move |_: Context, args: Bytes, _: Outcome<Bytes>| {
                all.push(format!("{name}: {}", String::from_utf8_lossy(&args)));
                if let (Some(broker), true) = (&cut, args.starts_with(b"[3,")) {
                    broker.outage(true);
                }
                async {}
            };
            worker.lease(secs(3)).register_fn(ADD, add).on_end_of(ADD, tell_typed).on_end_of_all(tell_all)
        }
    };
    let _first = a.worker(said("a", Some(Arc::clone(&a.broker)))).await;
    let flow = a.client.enqueue_flow(ADD.call((1, 2)).then(ADD.step((10,)))).await.unwrap();
    until("a is cut off", || log.len() == 4).await;
    let _second = b.worker(said("b", None)).await;
    until("b has told", || log.len() == 6).await;
    assert_eq!(flow.result().await.unwrap(), 13);
    let both = |name| [format!("{name}: add(3, 10) Succeeded(13)"), format!("{name}: [3,10]")];
    assert_eq!(log.all()[..2], ["a: add(1, 2) Succeeded(3)", "a: [1,2]"]);
    assert_eq!(log.all()[2..], [both("a"), both("b")].concat());
}
