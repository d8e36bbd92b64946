//! The commands of a worker that has nothing to do.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Result;
use crate::options::Options;
use crate::redis_info::Meter;
use crate::sample::Sample;
use crate::target::Target;

/// Longer than the start of a worker takes.
const SETTLES: Duration = Duration::from_secs(1);
/// Longer than what a worker does regularly.
const WATCHED: Duration = Duration::from_secs(10);

/// Watches the server for a while.
pub(super) async fn ours(options: &Options) -> Result<Vec<Sample>> {
    let target = Target::connect(options, true).await?;
    let worker = target.start().await?;
    sleep(SETTLES).await;
    let start = Instant::now();
    let meter = Meter::start(&options.broker).await?;
    sleep(WATCHED).await;
    let done = meter.stop().await?;
    let seconds = start.elapsed().as_secs_f64();
    worker.stop().await;
    target.close().await;
    let work = done.ok_or("the server cannot be asked")?;
    Ok(vec![
        Sample::new("idle worker sends", "commands/s", work.requests / seconds),
        Sample::new("  with those in scripts", "commands/s", work.commands / seconds),
        Sample::new("  Redis CPU", "ms/s", work.cpu * 1e3 / seconds),
    ])
}
