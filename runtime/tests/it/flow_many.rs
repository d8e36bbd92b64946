//! A join of many: it counts a set, whatever its members go through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use windlass_core::flow::map;
use windlass_core::{Backoff, Context, Failure, TaskDef, TaskError};
use windlass_testing::Harness;

use crate::support::{HOUR, Log, millis};

const CHILD: TaskDef<(u64,), u64> = TaskDef::new("child");
const TOTAL: TaskDef<(Vec<u64>,), u64> = TaskDef::new("total");
/// Answers how many were good, and how many were not.
type Settled = TaskDef<(Vec<Result<u64, Failure>>,), (usize, usize)>;
const SETTLED: Settled = TaskDef::new("settled");
const CHILDREN: u64 = 10_000;

/// Whether this run of this child fails: one of four, and the same in each run of the test.
fn fails(n: u64, attempt: u32) -> bool {
    fastrand::Rng::with_seed(n * 31 + u64::from(attempt)).u8(..) < 64
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_children_with_random_failures_are_joined_once() {
    let (harness, runs, joins) = (Harness::new(), Arc::new(AtomicU64::new(0)), Log::new());
    let (counted, joined) = (Arc::clone(&runs), joins.clone());
    let child = move |context: Context, n: u64| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { if fails(n, context.attempt()) { Err("bad luck") } else { Ok(n) } }
    };
    let total = move |all: Vec<u64>| {
        joined.push(all.len());
        async move { all.iter().sum::<u64>() }
    };
    let _worker = harness.worker(|worker| worker.register_fn(CHILD, child).register_fn(TOTAL, total)).await;
    let call = |n| CHILD.call((n,)).max_retries(20).backoff(Backoff::fixed(millis(10)));
    let handle = harness.client().enqueue_flow(map(0..CHILDREN, call).then(TOTAL.step(()))).await.unwrap();
    assert_eq!(handle.result_within(HOUR).await.unwrap(), CHILDREN * (CHILDREN - 1) / 2);
    harness.drain().await;
    assert_eq!(joins.all(), [10_000]);
    let progress = handle.progress().await.unwrap().unwrap();
    assert_eq!((progress.succeeded, progress.total()), (10_001, 10_001), "{progress:?}");
    let expected: u64 = (0..CHILDREN).map(|n| (1..).find(|attempt| !fails(n, *attempt)).unwrap()).map(u64::from).sum();
    assert_eq!(runs.load(Ordering::Relaxed), expected, "no child ran more often than it failed");
}

#[tokio::test(start_paused = true)]
async fn a_join_that_takes_errors_gets_one_for_each_that_failed() {
    let (harness, joins) = (Harness::new(), Log::new());
    let joined = joins.clone();
    let child = async |n: u64| if n.is_multiple_of(3) { Err(TaskError::permanent("never")) } else { Ok(n) };
    let settled = move |all: Vec<Result<u64, Failure>>| {
        joined.push(());
        let mut counts: HashMap<bool, usize> = HashMap::new();
        for (n, result) in all.iter().enumerate() {
            *counts.entry(result.is_ok()).or_default() += 1;
            assert_eq!(result.as_ref().ok(), (n % 3 != 0).then_some(&(n as u64)), "each at its place");
        }
        async move { (counts[&true], counts[&false]) }
    };
    let _worker = harness.worker(|worker| worker.register_fn(CHILD, child).register_fn(SETTLED, settled)).await;
    let flow = map(0..3000, |n| CHILD.call((n,))).settled().then(SETTLED.step(()));
    let handle = harness.client().enqueue_flow(flow).await.unwrap();
    assert_eq!(handle.result_within(HOUR).await.unwrap(), (2000, 1000));
    harness.drain().await;
    assert_eq!(joins.len(), 1);
}
