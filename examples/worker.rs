//! A worker process: runs the tasks of the examples until Ctrl-C or SIGTERM, then says what it did.
//!
//! `cargo run --features redis --example worker -- --broker redis://127.0.0.1:6379`
//!
//! Over other stores, `worker`, `producer` and `checksum` are the same programs: with the features
//! `amqp,postgres`, for example `--broker amqp://127.0.0.1 --backend postgres://localhost/postgres`.

mod common;

use std::error::Error;
use std::time::Duration;

use clap::Parser;

/// Runs the tasks of the examples until Ctrl-C or SIGTERM; a second signal stops at once.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    stores: common::Stores,
    /// Tasks that run at the same time
    #[arg(long, default_value_t = 100)]
    concurrency: usize,
    /// Seconds after which the tasks of a lost worker are taken over
    #[arg(long, default_value_t = 30)]
    lease: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let app = args.stores.connect().await?;
    let worker = app
        .worker()
        .register::<common::square>()
        .register::<common::sha256>()
        .concurrency(args.concurrency)
        .lease(Duration::from_secs(args.lease))
        .start()
        .await?;
    eprintln!("worker is ready");
    let report = worker.run().await?;
    println!("worker: {report}");
    app.close().await;
    Ok(())
}
