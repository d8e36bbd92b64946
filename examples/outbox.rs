//! Orders and their tasks in one transaction: a task is sent if, and only if, its order is stored.
//!
//! `cargo run --features redis,postgres --example outbox -- --broker redis://127.0.0.1 --database postgres://localhost/shop`

use std::error::Error;

use clap::Parser;
use sqlx::PgPool;
use windlass::Windlass;

/// Stores orders, half of which are given up, and runs the tasks of the others.
#[derive(Parser)]
struct Args {
    /// Where tasks wait and results are kept
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    broker: String,
    /// The application's own database
    #[arg(long, default_value = "postgres://localhost/postgres")]
    database: String,
    /// How many orders
    #[arg(long, default_value_t = 10)]
    orders: i64,
}

#[windlass::task(name = "examples:confirm")]
async fn confirm(order: i64) -> String {
    format!("order {order} is confirmed")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let pool = PgPool::connect(&args.database).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS windlass_example (number bigint)").execute(&pool).await?;
    let app = Windlass::builder().broker(&args.broker).outbox_pool(pool.clone()).connect().await?;
    // Its worker relays what is committed.
    let worker = app.worker().register::<confirm>().start().await?;

    let mut handles = Vec::new();
    for number in 1..=args.orders {
        let mut transaction = pool.begin().await?;
        sqlx::query("INSERT INTO windlass_example VALUES ($1)").bind(number).execute(&mut *transaction).await?;
        let handle = app.enqueue_in(&mut *transaction, confirm::call(number)).await?;
        if number % 2 == 0 {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
            handles.push(handle);
        }
    }
    for handle in &handles {
        println!("{}", handle.result().await?);
    }
    println!("{} orders, {} confirmed; worker: {}", args.orders, handles.len(), worker.shutdown().await);
    sqlx::query("DROP TABLE windlass_example").execute(&pool).await?;
    Ok(())
}
