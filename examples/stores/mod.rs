//! Where an example keeps its tasks and results: in memory, unless `--broker` and `--backend` say otherwise.

use clap::Parser;
use windlass::{Builder, Windlass};

#[derive(Parser)]
struct Args {
    /// Where tasks wait: memory://, redis://… or amqp://…
    #[arg(long, default_value = "memory://")]
    broker: String,
    /// Where results are kept: redis://… or postgres://… [default: where tasks wait]
    #[arg(long)]
    backend: Option<String>,
}

/// Connects to the stores that the command line names.
#[allow(dead_code, reason = "some examples have more to say before they connect")]
pub(crate) async fn connect() -> windlass::Result<Windlass> {
    builder().connect().await
}

/// The same, before it is connected.
pub(crate) fn builder() -> Builder {
    let Args { broker, backend } = Args::parse();
    let builder = Windlass::builder().broker(broker);
    match backend {
        Some(backend) => builder.backend(backend),
        None => builder,
    }
}
