//! How an application tests its tasks: the real worker over memory, in virtual time.
//!
//! What stands in `main` belongs into `#[tokio::test(start_paused = true)]` functions.

use std::time::Duration;

use windlass::{Context, ResultError, State, TaskError};
use windlass_testing::Harness;

/// What the task needs; here one that refuses until the third attempt.
struct Shop {
    opens_at_attempt: u32,
}

#[windlass::task(max_retries = 3, backoff = "fixed 8h")]
async fn order(context: Context, shop: State<Shop>, item: String) -> Result<String, TaskError> {
    if item.is_empty() {
        return Err(TaskError::permanent("nothing is ordered"));
    }
    if context.attempt() < shop.opens_at_attempt {
        return Err("the shop is closed".into());
    }
    Ok(format!("{item} at attempt {}", context.attempt()))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The function alone needs nothing of windlass.
    // With its retries: the real worker, and a clock that jumps to the next thing to do.
    let harness = Harness::new();
    let worker = harness.worker(|worker| worker.state(Shop { opens_at_attempt: 3 }).register::<order>()).await;

    let start = tokio::time::Instant::now();
    let handle = harness.enqueue(order::call("tea".into())).await?;
    assert_eq!(handle.result().await?, "tea at attempt 3");
    assert!(start.elapsed() >= Duration::from_secs(16 * 3600), "two pauses of eight hours");
    println!("retried over {:?} of virtual time", start.elapsed());

    let handle = harness.enqueue(order::call(String::new())).await?;
    let Err(ResultError::Failed { failure, .. }) = handle.result().await else { panic!("it must fail") };
    assert_eq!(failure.to_string(), "nothing is ordered (attempt 1)");
    println!("failed as it should: {failure}");

    worker.shutdown().await;
    Ok(())
}
