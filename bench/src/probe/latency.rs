//! From sending a task to holding its result, one task after the other.

use std::time::Instant;

use crate::Result;
use crate::floor::Floor;
use crate::options::Options;
use crate::sample::Sample;
use crate::target::Target;

/// An idle worker and a caller who waits for each result.
pub(super) async fn ours(options: &Options) -> Result<Vec<Sample>> {
    if options.backend().is_none() {
        return Err("this probe waits for results: --backend says where they are kept".into());
    }
    let target = Target::connect(options, true).await?;
    let worker = target.start().await?;
    let mut times = Vec::with_capacity(options.tasks());
    for _ in 0..options.tasks() {
        let start = Instant::now();
        let handle = target.client.enqueue(target.call()).await?;
        target.check(&handle).await?;
        times.push(start.elapsed());
    }
    worker.finish(options.tasks()).await?;
    target.close().await;
    Ok(Sample::latencies(times))
}

/// A blocked consumer and a blocked reader.
pub(super) async fn floor(options: &Options, floor: &mut Floor) -> Result<Vec<Sample>> {
    floor.clear().await?;
    // A latency needs no more tasks than the probe `latency` has by default.
    let times = floor.latencies(options.tasks().min(2_000)).await?;
    Ok(if times.is_empty() { Vec::new() } else { Sample::latencies(times) })
}
