//! Progress and history: how far a task is while it runs, and what went wrong before.
//!
//! `cargo run --example progress`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use windlass::{Context, TaskError};

/// Any serde type will do.
#[derive(Serialize, Deserialize)]
struct Copied {
    files: u32,
    of: u32,
}

#[windlass::task]
async fn copy(context: Context, of: u32) -> Result<u32, TaskError> {
    for files in 1..=of {
        // As often as you like: what comes too fast is left out, the last word never.
        context.progress(Copied { files, of })?;
        sleep(Duration::from_millis(30)).await;
        if files == of / 2 && context.attempt() == 1 {
            return Err(TaskError::retry_now("the disk was away"));
        }
    }
    Ok(of)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let worker = app.worker().register::<copy>().start().await?;

    let handle = app.enqueue(copy::call(20)).await?;
    let mut progress = handle.progress::<Copied>().await?;
    while let Some(copied) = progress.next().await {
        let Copied { files, of } = copied?;
        println!("{files} of {of}");
    }
    println!("{} files are copied", handle.result().await?);

    for attempt in handle.history().await? {
        println!("before that: {attempt}");
    }
    println!("worker: {}", worker.shutdown().await);
    app.close().await;
    Ok(())
}
