//! Panics, wherever they come from, are failures of one run.

use std::fmt;

use async_trait::async_trait;
use tokio::time::sleep;
use windlass_core::{Context, Failure, FailureKind, TaskDef};
use windlass_runtime::{Middleware, Next, ResultError, RunResult, WorkerBuilder};
use windlass_testing::Harness;

use crate::support::{HOUR, WORK, secs};

const OTHER: TaskDef<(), u32> = TaskDef::new("other");

/// Runs `work` with one place and answers how it failed; then the place must be free again.
async fn failure(build: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Failure {
    let harness = Harness::new();
    let worker = harness.worker(|worker| build(worker.concurrency(1)).register_fn(OTHER, async || 7)).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(1).timeout("10s")).await.unwrap();
    let failure = match handle.result_within(HOUR * 24).await.unwrap_err() {
        ResultError::Failed { failure, .. } => failure,
        other => panic!("not failed: {other}"),
    };
    assert_eq!(failure.attempt, 2, "it is retried");
    assert_eq!(harness.run(OTHER.call(())).await.unwrap(), 7, "the worker goes on");
    let report = worker.shutdown().await;
    assert_eq!((report.retried, report.failed, report.succeeded, report.abandoned), (1, 1, 1, 0));
    failure
}

fn says(failure: &Failure, text: &str) {
    assert_eq!(failure.kind, FailureKind::Panic, "{failure}");
    assert!(failure.message.contains(text), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn of_an_async_task() {
    let work = |n: u32| async move {
        sleep(secs(1)).await;
        assert!(n == 0, "bad number {n}");
        n
    };
    says(&failure(|worker| worker.register_fn(WORK, work)).await, "bad number 1");
}

#[tokio::test(start_paused = true)]
async fn of_a_task_before_its_first_await() {
    fn work(n: u32) -> impl Future<Output = u32> {
        assert!(n == 0, "bad number {n}");
        async move { n }
    }
    says(&failure(|worker| worker.register_fn(WORK, work)).await, "bad number 1");
}

#[tokio::test(start_paused = true)]
async fn of_a_blocking_task() {
    let work = |n: u32| -> u32 { panic!("bad number {n}") };
    says(&failure(|worker| worker.register_fn(WORK, work)).await, "bad number 1");
}

#[tokio::test(start_paused = true)]
async fn of_an_error_that_cannot_be_printed() {
    #[derive(Debug)]
    struct Mute;
    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no words")
        }
    }
    impl std::error::Error for Mute {}
    let work = |n: u32| async move { if n == 0 { Ok(n) } else { Err(Mute) } };
    says(&failure(|worker| worker.register_fn(WORK, work)).await, "no words");
}

#[tokio::test(start_paused = true)]
async fn of_a_layer() {
    #[derive(Debug)]
    struct Broken;
    #[async_trait]
    impl Middleware for Broken {
        async fn run(&self, context: &Context, next: Next<'_>) -> RunResult {
            assert!(context.task().as_str() != "work", "a broken layer");
            next.run(context).await
        }
    }
    says(&failure(|worker| worker.layer(Broken).register_fn(WORK, async |n: u32| n)).await, "a broken layer");
}

#[tokio::test(start_paused = true)]
async fn of_a_value_that_is_dropped_when_the_run_is_stopped() {
    struct Grumpy;
    impl Drop for Grumpy {
        fn drop(&mut self) {
            panic!("not now");
        }
    }
    let work = |n: u32| async move {
        let _grumpy = Grumpy;
        sleep(HOUR).await;
        n
    };
    let failure = failure(|worker| worker.register_fn(WORK, work)).await;
    assert!(matches!(failure.kind, FailureKind::Panic | FailureKind::Timeout), "{failure}");
}
