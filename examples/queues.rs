//! Queues: several a worker, priorities, a limit, pause and resume, move and purge.
//!
//! `cargo run --example queues`, or with `-- --broker … --backend …` over other stores.

mod stores;

use windlass::{ErrorKind, Overflow, Priority, QueueOrder, ResultError};

const MAIL: &str = "examples-mail";
const OLD: &str = "examples-old-mail";
const REPORTS: &str = "examples-reports";

#[windlass::task(queue = "examples-mail")]
async fn mail(to: String) -> String {
    println!("mail to {to}");
    to
}

#[windlass::task(queue = "examples-reports")]
async fn report(month: u32) -> u32 {
    month
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // At most three letters may wait; `enqueue` answers for the fourth.
    let app = stores::builder().queue_limit(MAIL, 3, Overflow::Reject).connect().await?;

    // Nobody takes from a paused queue, also no worker that starts later.
    app.queue(MAIL)?.pause().await?;
    let low = app.enqueue(mail::call("a list".into()).priority(Priority::Low)).await?;
    let normal = app.enqueue(mail::call("a friend".into())).await?;
    let urgent = app.enqueue(mail::call("the fire brigade".into()).priority(Priority::Critical)).await?;
    match app.enqueue(mail::call("a stranger".into())).await {
        Err(error) if error.kind() == ErrorKind::Full => println!("{error}"),
        other => return Err(format!("the queue is full: {other:?}").into()),
    }

    // Two places for both queues; of three tasks that begin, two are letters, while there are reports too.
    let worker = app.worker().register::<mail>().register::<report>();
    let worker = worker.queue(MAIL, 1).queue(REPORTS, 2).order(QueueOrder::Weighted).total(2).weight(MAIL, 2);
    let worker = worker.start().await?;
    let month = app.enqueue(report::call(7)).await?.result().await?;
    println!("the report of month {month} is done; the mail waits: {}", app.queue(MAIL)?.is_paused().await?);

    // The most urgent first.
    app.queue(MAIL)?.resume().await?;
    for handle in [urgent, normal, low] {
        handle.result().await?;
    }

    // What waits where no worker looks can be moved, or removed.
    let old = |to: &str| mail::call(to.into()).queue(OLD);
    let handles = [app.enqueue(old("an uncle")).await?, app.enqueue(old("an aunt")).await?];
    let moved = app.queue(OLD)?.move_to(MAIL).await?;
    for handle in handles {
        handle.result().await?;
    }
    let spam = app.enqueue_many(["x", "y", "z"].map(old)).await;
    let purged = app.queue(OLD)?.purge().await?;
    for handle in spam {
        let Err(ResultError::Cancelled { reason, .. }) = handle?.result().await else { return Err("it ran".into()) };
        println!("not sent: {}", reason.unwrap_or_default());
    }
    println!("{moved} moved, {purged} purged; worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}
