//! Results and states: several values, a failure with its causes, what is kept and for how long.
//!
//! `cargo run --example results`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::num::ParseIntError;
use std::time::Duration;

use windlass::{ResultError, Retention};

/// Several values are a tuple.
#[windlass::task]
async fn calculate(a: i64, b: i64) -> (i64, i64) {
    (a + b, a * b)
}

/// Any error type will do; an error is a failure, and is retried unless the task says otherwise.
#[windlass::task(max_retries = 0)]
async fn parse(text: String) -> Result<i64, ParseIntError> {
    text.parse()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;

    // A task that waits has a state, although no worker has seen it.
    let handle = app.enqueue(calculate::call(2, 3)).await?;
    let state = handle.status().await?.map(|status| status.state);
    println!("before a worker is there, it is {}", state.ok_or("nobody knows it")?);

    let worker = app.worker().register::<calculate>().register::<parse>().start().await?;
    let (sum, product) = handle.result().await?;
    println!("the sum is {sum}, the product is {product}");

    // A failure says what, why and in which attempt.
    match app.enqueue(parse::call("seven".into())).await?.result().await {
        Err(ResultError::Failed { failure, .. }) => println!("{:?}: {failure}", failure.kind),
        other => return Err(format!("it cannot be parsed: {other:?}").into()),
    }

    // The state is kept for an hour, the result not at all: who waits when it ends is told, later nobody.
    let call = calculate::call(4, 5).status_ttl(Duration::from_secs(3600)).result_ttl(Retention::None);
    let handle = app.enqueue(call).await?;
    println!("told while waiting: {:?}", handle.result_within(Duration::from_secs(60)).await);
    println!("asked again: {:?}", handle.result_within(Duration::from_secs(60)).await.map_err(|e| e.to_string()));

    println!("worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}
