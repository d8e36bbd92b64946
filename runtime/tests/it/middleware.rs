//! Code around every run, and values that tasks share.

use async_trait::async_trait;
use bytes::Bytes;
use windlass_core::task::State;
use windlass_core::{Context, FailureKind};
use windlass_runtime::{Middleware, Next, ResultError, RunResult};
use windlass_testing::Harness;

use crate::support::{Log, WORK, dead};

#[derive(Debug)]
struct Named(&'static str, Log<String>);

#[async_trait]
impl Middleware for Named {
    async fn run(&self, context: &Context, next: Next<'_>) -> RunResult {
        self.1.push(format!("{} before {}", self.0, context.task()));
        let answer = next.run(context).await;
        self.1.push(format!("{} after {}", self.0, answer.is_ok()));
        answer
    }
}

#[derive(Debug)]
struct Answer;

#[async_trait]
impl Middleware for Answer {
    async fn run(&self, _context: &Context, _next: Next<'_>) -> RunResult {
        Ok(Bytes::from_static(b"99"))
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_layer_is_the_outermost() {
    let harness = Harness::new();
    let log = Log::new();
    let (outer, inner, task) = (Named("outer", log.clone()), Named("inner", log.clone()), log.clone());
    let work = move |n: u32| {
        let task = task.clone();
        async move {
            task.push("task".to_owned());
            n
        }
    };
    let _worker = harness.worker(|worker| worker.layer(outer).layer(inner).register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    let wanted = ["outer before work", "inner before work", "task", "inner after true", "outer after true"];
    assert_eq!(log.all(), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_layer_can_answer_in_the_place_of_the_task() {
    let harness = Harness::new();
    let log = Log::new();
    let runs = log.clone();
    let work = move |n: u32| {
        let runs = runs.clone();
        async move {
            runs.push(n);
            n
        }
    };
    let worker = harness.worker(|worker| worker.layer(Answer).concurrency(1).register_fn(WORK, work)).await;
    for _ in 0..3 {
        assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 99);
    }
    assert_eq!(worker.shutdown().await.succeeded, 3);
    assert_eq!(log.len(), 0, "the task itself did not run");
}

#[tokio::test(start_paused = true)]
async fn what_a_closure_does_before_its_async_block_is_part_of_the_run_too() {
    let harness = Harness::new();
    let log = Log::new();
    let (layer, task) = (Named("layer", log.clone()), log.clone());
    let work = move |n: u32| {
        task.push("task".to_owned());
        async move { n }
    };
    let _worker = harness.worker(|worker| worker.layer(layer).register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((1,))).await.unwrap(), 1);
    assert_eq!(log.all(), ["layer before work", "task", "layer after true"]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_arguments_that_do_not_fit() {
    let harness = Harness::new();
    let log = Log::new();
    let layer = Named("layer", log.clone());
    let _worker = harness.worker(|worker| worker.layer(layer).register_fn(WORK, async |n: u32| n)).await;
    assert!(harness.run(windlass_core::Call::<u32>::raw("work", "{}")).await.is_err());
    assert_eq!(log.all(), ["layer before work", "layer after false"]);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_layer_counts() {
    #[derive(Debug)]
    struct Slow;
    #[async_trait]
    impl Middleware for Slow {
        async fn run(&self, context: &Context, next: Next<'_>) -> RunResult {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            next.run(context).await
        }
    }
    let harness = Harness::new();
    let _worker = harness.worker(|worker| worker.layer(Slow).register_fn(WORK, async |n: u32| n)).await;
    let error = harness.run(WORK.call((1,)).timeout("30s").max_retries(0)).await.unwrap_err();
    assert!(matches!(error, ResultError::Failed { failure, .. } if failure.kind == FailureKind::Timeout));
}

#[tokio::test(start_paused = true)]
async fn tasks_share_the_values_of_the_worker() {
    let harness = Harness::new();
    let work = |factor: State<u32>, n: u32| async move { n * *factor };
    let _worker = harness.worker(|worker| worker.state(21_u32).register_fn(WORK, work)).await;
    assert_eq!(harness.run(WORK.call((2,))).await.unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_the_worker_does_not_have_is_told_with_the_cure() {
    struct Pool;
    fn blocking(_pool: State<Pool>, n: u32) -> u32 {
        n
    }
    async fn waiting(_pool: State<Pool>, n: u32) -> u32 {
        n
    }
    for is_blocking in [false, true] {
        let harness = Harness::new();
        let _worker = harness
            .worker(|worker| match is_blocking {
                true => worker.register_fn(WORK, blocking),
                false => worker.register_fn(WORK, waiting),
            })
            .await;
        let error = harness.run(WORK.call((1,))).await.unwrap_err();
        let ResultError::Failed { failure, .. } = error else { panic!("not failed: {error}") };
        assert_eq!(failure.attempt, 1, "it is not retried");
        assert!(failure.message.contains("Pool") && failure.message.contains(".state("), "{failure}");
        harness.drain().await;
        assert_eq!(dead(&harness).await.len(), 1);
    }
}
