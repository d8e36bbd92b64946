//! The SHA-256 of every file below a directory, computed by worker processes.
//!
//! Start one or more `worker`s, then:
//! `cargo run --features redis --example checksum -- DIR > sums && sha256sum -c sums`

mod common;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Parser;

/// Prints the SHA-256 of every file below a directory in the format of `sha256sum`, sorted by name.
#[derive(Parser)]
struct Args {
    /// The directory
    dir: PathBuf,
    #[command(flatten)]
    stores: common::Stores,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut files = Vec::new();
    collect(&args.dir, &mut files)?;
    files.sort();
    let app = args.stores.connect().await?;
    // In memory there are no other processes: the worker lives here.
    let worker = match args.stores.broker.as_str() {
        "memory://" => Some(app.worker().register::<common::sha256>().start().await?),
        _ => None,
    };
    let bar = common::progress_bar(files.len());
    let calls: io::Result<Vec<_>> = files.iter().map(|file| file.canonicalize().map(common::sha256::call)).collect();
    let handles = app.enqueue_many(calls?).await;
    for (file, handle) in files.iter().zip(handles) {
        println!("{}", line(file, &handle?.result().await?));
        bar.inc(1);
    }
    bar.finish();
    if let Some(worker) = worker {
        worker.shutdown().await;
    }
    app.close().await;
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?;
        match () {
            () if kind.is_dir() => collect(&path, files)?,
            () if kind.is_file() => files.push(path),
            () => {}
        }
    }
    Ok(())
}

/// As `sha256sum` prints it: a backslash in front where the name holds what must be escaped.
fn line(file: &Path, sum: &str) -> String {
    let name = file.to_string_lossy();
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    format!("{mark}{sum}  {escaped}")
}
