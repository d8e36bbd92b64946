//! Callbacks: functions in the worker that are told how a task has ended, with its arguments.
//!
//! `cargo run --example callbacks`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::Duration;

use windlass::{Context, Outcome};

#[windlass::task(max_retries = 0)]
async fn charge(customer: String, cents: u64) -> Result<u64, String> {
    if cents > 10_000 { Err(format!("{customer} has a limit of 10000")) } else { Ok(cents) }
}

/// Typed: the arguments and the result are those of the task.
async fn mail(context: Context, (customer, cents): (String, u64), outcome: Outcome<u64>) {
    match outcome {
        Outcome::Succeeded(paid) => println!("to {customer}: {paid} cents were paid ({})", context.task()),
        Outcome::Failed(failure) => println!("to {customer}: {cents} cents were not paid: {failure}"),
        other => println!("to {customer}: {}", other.state()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let worker = app
        .worker()
        .register::<charge>()
        .on_end::<charge>(mail)
        // Of every task, without types. What it does wrong is logged, and changes nothing.
        .on_end_of_all(|context, _args, outcome| async move {
            println!("{} is {}", context.task(), outcome.state());
            Err::<(), _>("the archive is closed today")
        })
        .callback_timeout(Duration::from_secs(5))
        .start()
        .await?;

    println!("paid: {}", app.enqueue(charge::call("ada".into(), 500)).await?.result().await?);
    let refused = app.enqueue(charge::call("bob".into(), 50_000)).await?.result().await;
    println!("refused: {}", refused.err().ok_or("it was to be refused")?);
    // A shutdown waits for callbacks as it waits for results.
    println!("worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}
