//! What the examples `worker`, `producer` and `checksum` share: the tasks and the way to the stores.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use windlass::Windlass;

/// The square of a number.
#[windlass::task(name = "examples:square")]
pub(crate) async fn square(n: u64) -> u64 {
    n * n
}

/// The SHA-256 of a file, in hexadecimal. Not async: it runs on a thread for blocking work.
#[windlass::task(name = "examples:checksum", max_retries = 2)]
pub(crate) fn sha256(path: PathBuf) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where tasks wait and results are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Stores {
    /// Where tasks wait: redis://[user:password@]host[:port][/db], amqp://[user:password@]host[:port][/vhost],
    /// or memory:// for this process alone
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    pub(crate) broker: String,
    /// Where results are kept: redis://… or postgres://[user:password@]host[:port]/database [default: where
    /// tasks wait]
    #[arg(long)]
    pub(crate) backend: Option<String>,
}

impl Stores {
    /// Connects to them.
    pub(crate) async fn connect(&self) -> windlass::Result<Windlass> {
        let builder = Windlass::builder().broker(&self.broker);
        match &self.backend {
            Some(backend) => builder.backend(backend).connect().await,
            None => builder.connect().await,
        }
    }
}

/// A progress bar on standard error; nothing is drawn where that is not a terminal.
#[allow(dead_code, reason = "the worker has none")]
pub(crate) fn progress_bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}").expect("the template is constant");
    ProgressBar::new(length as u64).with_style(style)
}
