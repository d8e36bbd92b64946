//! How far a task is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use windlass_core::{Backoff, Context, ErrorKind, TaskDef};
use windlass_runtime::WorkerBuilder;
use windlass_testing::fault::BackendCall;
use windlass_testing::{Harness, MemoryBackend, MemoryBroker};

use crate::support::{Log, Node, Picky, WORK, builder, client, millis, secs, until};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Step {
    done: u32,
    of: u32,
}

/// Tells each step, and takes as long for each as it is told.
fn steps(pause: std::time::Duration) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder {
    let work = move |context: Context, of: u32| async move {
        for done in 1..=of {
            context.progress(Step { done, of })?;
            sleep(pause).await;
        }
        Ok::<_, windlass_core::Error>(of)
    };
    move |worker| worker.register_fn(WORK, work)
}

#[tokio::test(start_paused = true)]
async fn a_handle_follows_a_task_until_it_has_ended() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((5,))).await.unwrap();
    let mut progress = handle.progress::<Step>().await.unwrap();
    assert_eq!(handle.last_progress::<Step>().await.unwrap(), None);
    let _worker = harness.worker(steps(secs(1))).await;
    let mut seen = Vec::new();
    while let Some(step) = progress.next().await {
        seen.push(step.unwrap().done);
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    assert_eq!(handle.result().await.unwrap(), 5);
    assert_eq!(handle.last_progress::<Step>().await.unwrap(), Some(Step { done: 5, of: 5 }));
    // Who comes later has the last word, and the end.
    let mut late = handle.progress::<Step>().await.unwrap();
    assert_eq!(late.next().await.unwrap().unwrap().done, 5);
    assert!(late.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_fast_is_left_out_but_not_the_last_word() {
    let harness = Harness::new();
    let _worker = harness.worker(steps(millis(1))).await;
    let handle = harness.enqueue(WORK.call((1_050,))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 1_050);
    assert_eq!(handle.last_progress::<Step>().await.unwrap().unwrap().done, 1_050, "before the end is known");
    let writes = harness.backend_faults().calls(BackendCall::Write);
    assert!((5..=15).contains(&writes), "{writes} writes in a second");
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_worker_share_their_writes() {
    let harness = Harness::new();
    let _worker = harness.worker(steps(millis(200))).await;
    let calls = (0..50).map(|_| WORK.call((5,)));
    for handle in harness.client().enqueue_many(calls).await {
        assert_eq!(handle.unwrap().result().await.unwrap(), 5);
    }
    let writes = harness.backend_faults().calls(BackendCall::Write);
    assert!(writes < 100, "{writes} writes for 250 values");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_signalled_is_seen_all_the_same() {
    let harness = Harness::new();
    harness.backend_faults().fail_before(BackendCall::Signal, 1, ErrorKind::Unavailable);
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    let mut progress = handle.progress::<Step>().await.unwrap();
    let _worker = harness.worker(steps(secs(60))).await;
    assert_eq!(progress.next().await.unwrap().unwrap().done, 1);
    assert!(progress.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_lost_its_claim_does_not_write_over_its_successor() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let runs = Log::new();
    // Not in step, so that each would be seen between the words of the other.
    let says = |name: &'static str, pace: u64| {
        let runs = runs.clone();
        let work = move |context: Context, n: u32| {
            runs.push(name);
            async move {
                for _ in 0..600 {
                    context.progress(name)?;
                    sleep(millis(pace)).await;
                }
                Ok::<_, windlass_core::Error>(n)
            }
        };
        move |worker: WorkerBuilder| worker.lease(secs(3)).register_fn(WORK, work)
    };
    let _first = a.worker(says("a", 50)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("a runs", || runs.len() == 1).await;
    // The broker is away for a, the backend is not.
    a.broker.outage(true);
    let _second = b.worker(says("b", 170)).await;
    until("b runs", || runs.len() == 2).await;
    harness.pass("1s").await;
    for _ in 0..500 {
        harness.pass("7ms").await;
        assert_eq!(handle.last_progress::<String>().await.unwrap().unwrap(), "b");
    }
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_tells_its_own_progress() {
    let harness = Harness::new();
    let work = |context: Context, n: u32| async move {
        context.progress(context.attempt())?;
        if context.attempt() == 1 { Err(windlass_core::TaskError::from("once")) } else { Ok(n) }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).backoff(Backoff::fixed(secs(10)))).await.unwrap();
    harness.run_until_idle().await;
    harness.pass("1s").await;
    assert_eq!(handle.last_progress::<u32>().await.unwrap(), Some(1));
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(handle.last_progress::<u32>().await.unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn without_a_store_progress_is_refused_with_the_cure() {
    const TELL: TaskDef<(), String> = TaskDef::new("tell");
    let broker = MemoryBroker::new();
    let alone = client(Arc::new(broker), None);
    let texts = Log::new();
    let kept = texts.clone();
    let work = move |context: Context| {
        kept.push(context.progress(1).unwrap_err().to_string());
        kept.push(context.progress("x".repeat(70_000)).unwrap_err().to_string());
        async { String::new() }
    };
    let _worker = builder(&alone).register_fn(TELL, work).start().await.unwrap();
    alone.enqueue(TELL.call(())).await.unwrap();
    until("it has run", || texts.len() == 2).await;
    let [missing, large] = &texts.all()[..] else { panic!("two texts") };
    assert!(missing.contains("backend.url"), "{missing}");
    assert!(large.contains("70002 B") && large.contains("65536 B"), "{large}");
}

/// Tasks that told of their progress end in one batch with one whose record is never taken.
#[tokio::test(start_paused = true)]
async fn what_is_saved_apart_from_others_keeps_its_result() {
    let refused = Some("refused".parse().unwrap());
    let backend = Picky { inner: MemoryBackend::new(), saves: Log::new(), refused };
    let client = client(Arc::new(MemoryBroker::new()), Some(Arc::new(backend)));
    client.enqueue(WORK.call((1,)).id("refused")).await.unwrap();
    let handles = client.enqueue_many((0..5).map(|_| WORK.call((1,)))).await;
    let _worker = steps(secs(1))(builder(&client)).start().await.unwrap();
    for handle in handles {
        assert_eq!(handle.unwrap().result_within(secs(60)).await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_after_the_end_is_not_heard() {
    let harness = Harness::new();
    let said = Log::new();
    let log = said.clone();
    let work = move |context: Context, of: u32| {
        let log = log.clone();
        async move {
            context.progress(Step { done: 1, of })?;
            tokio::spawn(async move {
                sleep(secs(1)).await;
                log.push(context.progress(Step { done: 2, of }).is_ok());
            });
            Ok::<_, windlass_core::Error>(of)
        }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((2,))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 2);
    until("it speaks after its end", || said.len() == 1).await;
    harness.pass("1s").await;
    assert_eq!(handle.last_progress::<Step>().await.unwrap(), Some(Step { done: 1, of: 2 }));
}
