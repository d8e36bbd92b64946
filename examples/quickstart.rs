//! A task is enqueued, run and answered: one process, no server.

use windlass::Windlass;

#[windlass::task(max_retries = 5, timeout = "30s")]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Windlass::connect("memory://").await?;
    let worker = app.worker().register::<add>().start().await?;
    let handle = app.enqueue(add::call(2, 3)).await?;
    println!("enqueued task {}", handle.id());
    println!("2 + 3 = {}", handle.result().await?);
    println!("worker: {}", worker.shutdown().await);
    Ok(())
}
