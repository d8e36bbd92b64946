//! Retries: on errors, on timeouts, or on neither; the pause between them; giving up at once.
//!
//! `cargo run --example retries`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::Duration;

use windlass::{Backoff, Context, FailureKind, ResultError, RetryOn, TaskError};

/// Fails twice, as a payment provider does.
#[windlass::task(max_retries = 5, backoff = "exponential 20ms 2 1s")]
async fn charge(context: Context, cents: u64) -> Result<u32, TaskError> {
    match (cents, context.attempt()) {
        (0, _) => Err(TaskError::permanent("nothing to charge")),
        (_, attempt @ 1..=2) => Err(format!("the bank did not answer attempt {attempt}").into()),
        (_, attempt) => Ok(attempt),
    }
}

/// Takes longer than it may.
#[windlass::task(timeout = "50ms")]
async fn dawdle() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let worker = app.worker().register::<charge>().register::<dawdle>().start().await?;

    let attempt = app.enqueue(charge::call(500)).await?.result().await?;
    println!("the charge went through at attempt {attempt}");

    // What no retry can mend is not retried.
    let hopeless = app.enqueue(charge::call(0)).await?.result().await;
    println!("{}", failure(hopeless)?);

    // A call can say otherwise than its task: here, only what took too long is tried again.
    let only_timeouts = RetryOn { errors: false, timeouts: true, panics: false };
    let call = charge::call(500).retry_on(only_timeouts);
    println!("{}", failure(app.enqueue(call).await?.result().await)?);

    let call = dawdle::call().max_retries(2).backoff(Backoff::fixed(Duration::from_millis(10)));
    let failure = failure(app.enqueue(call).await?.result().await)?;
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Timeout, 3));
    println!("{failure}");

    println!("worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}

/// Why it failed; an error if it did not.
fn failure<T>(result: Result<T, ResultError>) -> Result<windlass::Failure, Box<dyn std::error::Error>> {
    match result {
        Err(ResultError::Failed { failure, .. }) => Ok(failure),
        Err(other) => Err(other.into()),
        Ok(_) => Err("it should have failed".into()),
    }
}
