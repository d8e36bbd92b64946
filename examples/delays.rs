//! Time: run later, run at a time, not after a time, be finished by a time.
//!
//! `cargo run --example delays`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::{Duration, Instant, SystemTime};

use windlass::{Context, ResultError, TaskError};

#[windlass::task]
async fn remind(what: String) -> String {
    format!("remember: {what}")
}

/// Works as long as it may.
#[windlass::task(max_retries = 100, backoff = "fixed 200ms")]
async fn wait_for_stock(context: Context) -> Result<(), TaskError> {
    Err(format!("out of stock, asked {} times", context.attempt()).into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;

    // Nobody works yet: what expires meanwhile is never started, and is recorded so.
    let late = app.enqueue(remind::call("the offer of yesterday".into()).expires("50ms")).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let worker = app.worker().register::<remind>().register::<wait_for_stock>().start().await?;
    match late.result().await {
        Err(ResultError::Expired { .. }) => println!("expired: nobody started it in time"),
        other => return Err(format!("it should have expired: {other:?}").into()),
    }

    // The broker keeps what is delayed: it survives every restart, and is due by the broker's clock.
    let start = Instant::now();
    let soon = app.enqueue(remind::call("tea".into()).delay("300ms")).await?;
    let at = SystemTime::now() + Duration::from_millis(600);
    let later = app.enqueue(remind::call("cake".into()).run_at(at)).await?;
    println!("waits as {}", soon.status().await?.ok_or("nobody knows it")?.state);
    println!("{} after {:.1?}", soon.result().await?, start.elapsed());
    println!("{} after {:.1?}", later.result().await?, start.elapsed());

    // A deadline holds for all attempts together.
    let by = SystemTime::now() + Duration::from_secs(1);
    match app.enqueue(wait_for_stock::call().deadline(by)).await?.result().await {
        Err(ResultError::Failed { failure, .. }) => println!("gave up before the deadline: {failure}"),
        other => return Err(format!("it cannot succeed: {other:?}").into()),
    }

    println!("worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}
