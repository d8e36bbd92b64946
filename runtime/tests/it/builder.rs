//! What a worker refuses to start with.

use std::time::Duration;

use windlass_core::{ErrorKind, TaskDef};
use windlass_runtime::{WorkerBuilder, WorkerSettings};
use windlass_testing::Harness;

use crate::support::{WORK, builder, millis, secs};

async fn refused(build: impl FnOnce(WorkerBuilder) -> WorkerBuilder, kind: ErrorKind, says: &[&str]) {
    let harness = Harness::new();
    let error = build(builder(harness.client())).start().await.expect_err("it starts");
    assert_eq!(error.kind(), kind, "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
}

fn add(worker: WorkerBuilder) -> WorkerBuilder {
    worker.register_fn(WORK, |n: u32| async move { n })
}

#[tokio::test(start_paused = true)]
async fn without_a_task() {
    refused(|worker| worker, ErrorKind::Config, &["no task is registered", ".register"]).await;
}

#[tokio::test(start_paused = true)]
async fn with_two_handlers_of_one_name() {
    refused(|worker| add(add(worker)), ErrorKind::Config, &["two handlers", "work"]).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_name_that_is_none() {
    let bad: TaskDef<(), u32> = TaskDef::new("bad name");
    refused(|worker| worker.register_fn(bad, async || 1), ErrorKind::Invalid, &["task name", "bad name"]).await;
}

#[tokio::test(start_paused = true)]
async fn with_queues_that_are_named_twice_or_wrongly() {
    refused(|w| add(w).queue("a", 1).queue("a", 2), ErrorKind::Config, &["worker.queues", "\"a\"", "twice"]).await;
    refused(|w| add(w).queue("a b", 1), ErrorKind::Invalid, &["worker.queues", "a b"]).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_concurrency_out_of_its_limits() {
    refused(|w| add(w).concurrency(0), ErrorKind::Invalid, &["worker.concurrency", "0", "1 to 10000"]).await;
    refused(|w| add(w).concurrency(10_001), ErrorKind::Invalid, &["worker.concurrency", "10001"]).await;
    refused(|w| add(w).queue("mail", 0), ErrorKind::Invalid, &["worker.queues", "0", "1 to 10000", "mail"]).await;
}

#[tokio::test(start_paused = true)]
async fn with_times_out_of_their_limits() {
    refused(|w| add(w).lease(millis(99)), ErrorKind::Invalid, &["worker.lease", "99ms", "100ms"]).await;
    refused(|w| add(w).lease(secs(3_601)), ErrorKind::Invalid, &["worker.lease", "3601s", "3600s"]).await;
    refused(|w| add(w).grace(Duration::MAX), ErrorKind::Invalid, &["worker.grace", "86400s"]).await;
}

#[tokio::test(start_paused = true)]
async fn with_no_loss_allowed() {
    let harness = Harness::new();
    let mut settings = WorkerSettings::default();
    settings.max_losses = 0;
    let error = add(WorkerBuilder::new(harness.client(), settings)).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("worker.max_losses"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn with_a_result_limit_beyond_what_any_configuration_may_allow() {
    let harness = Harness::new();
    let mut settings = WorkerSettings::default();
    settings.payload_limit = windlass_core::limits::PAYLOAD_BYTES_HARD + 1;
    let error = add(WorkerBuilder::new(harness.client(), settings)).start().await.expect_err("it starts");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("16777216"), "{error}");
}
