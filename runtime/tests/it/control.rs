//! What a task knows and decides about itself.

use tokio::time::sleep;
use windlass_core::{Backoff, Clock, Context, FailureKind, State, TaskDef, TaskError};
use windlass_runtime::ResultError;
use windlass_testing::{Harness, TokioClock};

use crate::support::{HOUR, Log, Node, WORK, claim, default_queue, secs, until};

const CHILD: TaskDef<(u32,), u32> = TaskDef::new("child");

#[tokio::test(start_paused = true)]
async fn a_task_can_change_how_often_it_is_retried() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |context: Context, _n: u32| {
        log.push((context.attempt(), context.max_attempts(), context.retries_left()));
        if context.attempt() == 1 {
            context.set_retries_left(2);
            assert_eq!(context.retries_left(), 2);
        }
        async { Err::<u32, _>("boom") }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(9).backoff(Backoff::fixed(secs(1)))).await.unwrap();
    harness.drain().await;
    assert_eq!(runs.all(), [(1, 10, 9), (2, 3, 1), (3, 3, 0)]);
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_task_can_forbid_its_retries_and_allow_itself_more() {
    let harness = Harness::new();
    let runs = Log::new();
    let log = runs.clone();
    let work = move |context: Context, n: u32| {
        log.push((n, context.attempt()));
        context.set_retries_left(if n == 0 || context.attempt() == 4 { 0 } else { 1 });
        async { Err::<u32, _>("boom") }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    for n in 0..=1 {
        harness.enqueue(WORK.call((n,)).max_retries(0).backoff(Backoff::fixed(secs(1)))).await.unwrap();
        harness.drain().await;
    }
    assert_eq!(runs.all(), [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_has_set_outlives_a_lost_worker() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let runs = Log::new();
    let log = runs.clone();
    let work = move |context: Context, _n: u32| {
        log.push((context.attempt(), context.retries_left()));
        if context.attempt() == 1 {
            context.set_retries_left(1);
        }
        async { Err::<u32, _>("boom") }
    };
    let first = a.worker(|worker| worker.register_fn(WORK, work.clone())).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(9).backoff(Backoff::fixed(secs(10)))).await.unwrap();
    until("it has failed once", || first.report().retried == 1).await;
    first.shutdown().await;
    harness.pass("11s").await;
    assert_eq!(claim(&harness, secs(3)).await.len(), 1);
    harness.pass("4s").await;
    let _second = b.worker(|worker| worker.register_fn(WORK, work)).await;
    harness.drain().await;
    assert_eq!(runs.all(), [(1, 9), (2, 0)]);
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_retry_can_come_at_once() {
    let harness = Harness::new();
    let work = |context: Context, n: u32| async move {
        if context.attempt() < 3 { Err(TaskError::retry_now("not yet")) } else { Ok(n) }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let start = tokio::time::Instant::now();
    let call = WORK.call((1,)).backoff(Backoff::fixed(HOUR));
    assert_eq!(harness.run(call).await.unwrap(), 1);
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_can_end_itself_with_a_reason() {
    let harness = Harness::new();
    let work = async |_n: u32| Err::<u32, _>(TaskError::cancel("nothing to do"));
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let error = harness.run(WORK.call((1,))).await.unwrap_err();
    let ResultError::Cancelled { reason, .. } = error else { panic!("not cancelled: {error}") };
    assert_eq!(reason.as_deref(), Some("nothing to do"));
}

#[tokio::test(start_paused = true)]
async fn children_inherit_the_trace_and_the_deadline() {
    let harness = Harness::new();
    let parents = Log::new();
    let log = parents.clone();
    let parent = move |context: Context, n: u32| {
        let log = log.clone();
        async move {
            let own = CHILD.call((1,)).id(format!("{}-1", context.id())).header("tenant", "7");
            let sooner = CHILD.call((2,)).header("traceparent", "another").deadline(TokioClock.now().plus(secs(5)));
            let first = context.enqueue(own).await?;
            let many = context.enqueue_many([sooner, CHILD.call((3,)).header("", "bad"), CHILD.call((4,))]).await;
            log.push((first, many.iter().map(Result::is_ok).collect::<Vec<_>>()));
            Ok::<_, windlass_core::Error>(n)
        }
    };
    let children = Log::new();
    let seen = children.clone();
    let child = move |context: Context, n: u32| {
        let headers: Vec<String> = context.headers().iter().map(|(name, value)| format!("{name}={value}")).collect();
        seen.push((n, headers.join(" "), context.finish_by()));
        async move { n }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, parent).register_fn(CHILD, child)).await;
    let now = TokioClock.now();
    let by = now.plus(secs(60));
    let call = WORK.call((1,)).header("traceparent", "t").header("baggage", "b").header("private", "p").deadline(by);
    let handle = harness.enqueue(call.id("parent")).await.unwrap();
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), 1);
    let [(first, answers)] = &parents.all()[..] else { panic!("one parent") };
    assert_eq!((first.id.to_string(), &first.queue, first.is_new), ("parent-1".to_owned(), &default_queue(), true));
    assert_eq!(answers[..], [true, false, true]);
    let mut seen = children.all();
    seen.sort_by_key(|(n, ..)| *n);
    assert_eq!(seen[0], (1, "baggage=b tenant=7 traceparent=t".to_owned(), Some(by)));
    assert_eq!((seen[1].0, &*seen[1].1), (2, "baggage=b traceparent=another"));
    assert!(seen[1].2.unwrap() < now.plus(secs(10)), "the earlier of both");
    assert_eq!((seen[2].0, &*seen[2].1, seen[2].2), (4, "baggage=b traceparent=t", Some(by)));
}

#[tokio::test(start_paused = true)]
async fn several_values_can_be_a_result() {
    const DIVIDE: TaskDef<(u32, u32), (u32, u32, String)> = TaskDef::new("divide");
    let harness = Harness::new();
    let divide = async |a: u32, b: u32| (a / b, a % b, format!("{a} / {b}"));
    let _worker = harness.worker(|worker| worker.register_fn(DIVIDE, divide)).await;
    let (quotient, rest, text) = harness.run(DIVIDE.call((17, 5))).await.unwrap();
    assert_eq!((quotient, rest, &*text), (3, 2, "17 / 5"));
}

#[tokio::test(start_paused = true)]
async fn each_claim_has_a_greater_token() {
    let harness = Harness::new();
    let tokens = Log::new();
    let log = tokens.clone();
    let work = move |context: Context, n: u32| {
        log.push(context.token());
        async move {
            sleep(secs(1)).await;
            if context.attempt() < 3 { Err("again") } else { Ok(n) }
        }
    };
    let _worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    assert!(tokens.all().windows(2).all(|pair| pair[0] < pair[1]) && tokens.len() == 3, "{:?}", tokens.all());
}

/// In real time: virtual time stands still while a thread blocks.
#[tokio::test]
async fn a_blocking_task_whose_time_is_over_is_counted_until_it_ends() {
    let harness = Harness::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let work = move |n: u32| {
        let _ = held.lock().map(|held| held.recv());
        n
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let call = WORK.call((1,)).timeout("50ms").max_retries(0);
    let error = harness.run(call).await.unwrap_err();
    let ResultError::Failed { failure, .. } = error else { panic!("not failed: {error}") };
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(
        failure.message.ends_with("it blocks its thread and goes on; its place stays taken until it ends"),
        "{failure}"
    );
    assert_eq!(worker.report().stuck, 1);
    drop(release);
    until("it has ended", || worker.report().stuck == 0).await;
}

#[tokio::test]
async fn a_blocking_task_that_is_cancelled_is_left_and_counted() {
    let harness = Harness::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let began = Log::new();
    let log = began.clone();
    let work = move |n: u32| {
        log.push(n);
        let _ = held.lock().map(|held| held.recv());
        n
    };
    let worker = harness.worker(|worker| worker.cancel_grace(secs(0)).register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("it runs", || began.len() == 1).await;
    handle.cancel_because("enough").await.unwrap();
    let error = handle.result().await.unwrap_err();
    let ResultError::Cancelled { reason, .. } = error else { panic!("not cancelled: {error}") };
    assert_eq!(reason.as_deref(), Some("enough"));
    let failure = handle.status().await.unwrap().unwrap().failure.unwrap();
    assert!(failure.to_string().contains("it blocks its thread and goes on"), "{failure}");
    assert_eq!(worker.report().stuck, 1);
    drop(release);
    until("it has ended", || worker.report().stuck == 0).await;
}
