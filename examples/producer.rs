//! Enqueues many tasks, waits for all results and checks them.
//!
//! Start one or more `worker`s, then:
//! `cargo run --features redis --example producer -- --tasks 10000`

mod common;

use std::error::Error;
use std::time::Instant;

use clap::Parser;

/// Enqueues tasks for the example `worker`, waits for all results and checks them.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    stores: common::Stores,
    /// How many tasks
    #[arg(long, default_value_t = 1000)]
    tasks: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let app = args.stores.connect().await?;
    let bar = common::progress_bar(usize::try_from(args.tasks)?);
    let start = Instant::now();
    let handles = app.enqueue_many((0..args.tasks).map(common::square::call)).await;
    for (n, handle) in (0..).zip(handles) {
        let square = handle?.result().await?;
        if square != n * n {
            return Err(format!("task {n} answered {square}").into());
        }
        bar.inc(1);
    }
    bar.finish();
    println!("{} tasks, {} right results, {:.2?}", args.tasks, args.tasks, start.elapsed());
    app.close().await;
    Ok(())
}
