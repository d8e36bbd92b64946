//! Cancelling: what waits never runs; what runs is told why, and dropped if it does not listen.
//!
//! `cargo run --example cancel`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::Duration;

use tokio::time::sleep;
use windlass::{Context, ResultError};

const LONG: Duration = Duration::from_secs(600);

/// A task that listens can leave things in order.
#[windlass::task]
async fn listens(context: Context) {
    context.progress("begun").unwrap_or_default();
    tokio::select! {
        why = context.interrupted() => {
            println!("told to end: {why:?} ({})", context.cancel_reason().unwrap_or_default());
        }
        () = sleep(LONG) => {}
    }
}

/// A task that does not is dropped at its next `await`.
#[windlass::task]
async fn does_not(context: Context) {
    context.progress("begun").unwrap_or_default();
    sleep(LONG).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;

    let waits = app.enqueue(listens::call().delay("1h")).await?;
    println!("the first: {}", waits.cancel_because("ordered twice").await?);

    let grace = Duration::from_millis(500);
    let worker = app.worker().register::<listens>().register::<does_not>().cancel_grace(grace).start().await?;
    for call in [listens::call(), does_not::call()] {
        let runs = app.enqueue(call).await?;
        runs.progress::<String>().await?.next().await.ok_or("it has ended")??;
        println!("the next: {}", runs.cancel_because("the customer has left").await?);
        match runs.result().await {
            Err(ResultError::Cancelled { reason: Some(reason), .. }) => println!("cancelled: {reason}"),
            other => return Err(format!("not cancelled: {other:?}").into()),
        }
    }
    println!("worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}
