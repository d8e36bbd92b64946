//! Workflows that are refused, and what holds up nothing else.

use super::*;

#[tokio::test(start_paused = true)]
async fn without_a_backend_the_error_names_the_cure() {
    let client = client(std::sync::Arc::new(MemoryBroker::new()), None);
    let error = client.enqueue_flow(ADD.call((1, 1)).then(DOUBLE.step(()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("backend.url"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_too_large_is_refused_before_anything_is_sent() {
    let harness = Harness::new();
    let large = "x".repeat(2 * 1024 * 1024);
    let flow = ADD.call((1, 1)).on_success(GOOD.step((large,)));
    let error = harness.client().enqueue_flow(flow).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(harness.broker().is_empty() && harness.backend().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_was_refused_says_so_to_who_tries_again() {
    let mut settings = windlass_runtime::ClientSettings::default();
    let limit = windlass_core::QueueLimit { max: 1, overflow: windlass_core::broker::Overflow::Reject };
    settings.limits.insert("narrow".parse().unwrap(), limit);
    let harness = Harness::with_settings(settings);
    let flow = || group([1, 2].map(|n| ADD.call((n, n)).queue("narrow"))).then(SUM.step(())).id("f");
    assert_eq!(harness.client().enqueue_flow(flow()).await.unwrap_err().kind(), ErrorKind::Full);
    let again = harness.client().enqueue_flow(flow()).await.unwrap_err();
    assert!(again.to_string().contains("a workflow of this id was refused"), "{again}");
    assert_eq!(harness.broker().counts().queued, 0, "half of it must not run");
}

#[tokio::test(start_paused = true)]
async fn the_ids_of_members_are_nobody_elses() {
    let harness = Harness::new();
    let taken = harness.enqueue(ADD.call((1, 1)).id("f::0")).await.unwrap_err();
    assert!(taken.to_string().contains("which only tasks of workflows have"), "{taken}");
    assert!(harness.enqueue(ADD.call((1, 1)).id("f::0-page-1")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_member_hold_up_nothing_else() {
    let harness = Harness::new();
    const FLAKY: TaskDef<(u32,), u32> = TaskDef::new("flaky");
    const LAST: TaskDef<(Vec<u32>,), usize> = TaskDef::new("last");
    let flaky = |context: Context, n: u32| async move {
        if context.attempt() <= n { Err("not yet") } else { Ok(context.attempt()) }
    };
    let last = async |all: Vec<u32>| all.len();
    let _worker = harness.worker(|worker| worker.register_fn(FLAKY, flaky).register_fn(LAST, last)).await;
    let flow = map(0..5, |n| FLAKY.call((n,)).max_retries(5)).then(LAST.step(()));
    let handle = harness.client().enqueue_flow(flow).await.unwrap();
    harness.pass(millis(100)).await;
    let progress = handle.progress().await.unwrap().unwrap();
    assert_eq!((progress.succeeded, progress.retrying), (1, 4), "{progress:?}");
    assert_eq!(handle.result().await.unwrap(), 5);
    is_clean(&harness, 6, &handle).await;
}
