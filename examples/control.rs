//! Control inside a task: which attempt it is, how often it may still be retried, what it enqueues.
//!
//! `cargo run --example control`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::Duration;

use windlass::{Context, TaskError, TaskHandle};

/// One page of a book; it is not always there at once.
#[windlass::task]
async fn page(context: Context, number: u32) -> Result<u32, TaskError> {
    match (number, context.attempt()) {
        // Later by the back-off of the task, now, or never.
        (1, 1) => Err(TaskError::retry_now("the printer was busy")),
        (3, _) => Err(TaskError::cancel("the page is left empty on purpose")),
        _ => Ok(number * 100),
    }
}

/// Enqueues its pages: they belong to the same trace, and must be ready when the book must be.
#[windlass::task(max_retries = 5)]
async fn book(context: Context, pages: u32) -> Result<Vec<String>, TaskError> {
    println!("attempt {} of {}, {} retries left", context.attempt(), context.max_attempts(), context.retries_left());
    if pages > 100 {
        // No retry makes it shorter.
        context.set_retries_left(0);
        return Err("a book of more than 100 pages".into());
    }
    let calls = (1..=pages).map(|number| page::call(number).id(format!("{}-{number}", context.id())));
    let enqueued = context.enqueue_many(calls).await;
    enqueued.into_iter().map(|page| Ok(page?.id.to_string())).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let worker = app.worker().register::<page>().register::<book>().start().await?;

    let pages = app.enqueue(book::call(3)).await?.result().await?;
    for id in &pages {
        let handle: TaskHandle<u32> = app.handle_of(id.parse()?, "default".parse()?);
        match handle.result_within(Duration::from_secs(60)).await {
            Ok(size) => println!("a page of {size} words"),
            Err(error) => println!("{error}"),
        }
        for attempt in handle.history().await? {
            println!("  before that: {attempt}");
        }
    }
    println!("{} pages were enqueued by the book", pages.len());

    let error = app.enqueue(book::call(101)).await?.result().await.err().ok_or("too long")?;
    println!("{error}");
    println!("worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}
