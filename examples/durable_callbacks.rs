//! Tasks that run when another one has succeeded or failed, even if the worker dies in between.
//!
//! `cargo run --example durable_callbacks`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::Duration;

use windlass::{Failure, ResultError, TaskError};

#[windlass::task(max_retries = 1, backoff = "fixed 10ms")]
async fn charge(customer: String, cents: u32) -> Result<String, TaskError> {
    match cents {
        0..10_000 => Ok(format!("receipt for {cents} cents of {customer}")),
        _ => Err("the card was declined".into()),
    }
}

/// Takes the result of what it follows.
#[windlass::task]
async fn mail(receipt: String, to: String) -> usize {
    println!("mail to {to}: {receipt}");
    receipt.len()
}

/// Takes the failure of what it follows.
#[windlass::task]
async fn apologize(failure: Failure, to: String) {
    println!("sorry, {to}: {failure}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let worker = app.worker().register::<charge>().register::<mail>().register::<apologize>().start().await?;

    for (customer, cents) in [("ada", 900), ("bob", 50_000)] {
        let call = charge::call(customer.into(), cents)
            .on_success(mail::step(customer.into()))
            .on_failure(apologize::step(customer.into()).delay("100ms"));
        let handle = app.enqueue_flow(call).await?;
        // What is waited for is the charge; nobody waits for the callbacks.
        match handle.result().await {
            Ok(receipt) => println!("{receipt}"),
            Err(ResultError::Failed { failure, .. }) => println!("not paid: {}", failure.message),
            Err(error) => return Err(error.into()),
        }
        // Here the program does, because it would end otherwise.
        while handle.progress().await?.is_some_and(|progress| progress.ended() < progress.total()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    println!("worker: {}", worker.shutdown().await);
    let discarded = app.dead("default")?.select().task("charge").discard().run().await?;
    println!("{discarded} dead letter discarded");
    app.close().await;
    Ok(())
}
