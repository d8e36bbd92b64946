//! Sending tasks one by one, from many callers at once, and in bulk.

use std::time::Instant;

use crate::Result;
use crate::floor::Floor;
use crate::options::Options;
use crate::sample::Sample;
use crate::target::Target;

const ONE_BY_ONE: &str = "enqueue one by one";
const CONCURRENT: &str = "enqueue by 100 callers";
const BULK: &str = "enqueue in bulk of 1000";

const CALLERS: usize = 100;

/// A round trip for each task takes long, and fewer of them say the same.
fn few(options: &Options) -> usize {
    options.tasks().div_ceil(20)
}

/// Tasks of all callers together, the same number from each.
fn concurrent(options: &Options) -> usize {
    options.tasks().div_ceil(CALLERS) * CALLERS
}

/// Sends in the three ways, then works everything off to see that it was sent.
pub(super) async fn ours(options: &Options) -> Result<Vec<Sample>> {
    let target = Target::connect(options, false).await?;
    let mut samples = Vec::new();

    let start = Instant::now();
    for _ in 0..few(options) {
        target.client.enqueue(target.call()).await?;
    }
    samples.push(Sample::rate(ONE_BY_ONE, few(options), start.elapsed()));

    let start = Instant::now();
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(call(target.clone(), concurrent(options) / CALLERS))).collect();
    for caller in callers {
        caller.await??;
    }
    samples.push(Sample::rate(CONCURRENT, concurrent(options), start.elapsed()));

    let start = Instant::now();
    target.enqueue(options.tasks()).await?;
    samples.push(Sample::rate(BULK, options.tasks(), start.elapsed()));

    target.drain(few(options) + concurrent(options) + options.tasks()).await?;
    target.close().await;
    Ok(samples)
}

async fn call(target: Target, tasks: usize) -> Result<()> {
    for _ in 0..tasks {
        target.client.enqueue(target.call()).await?;
    }
    Ok(())
}

/// Many callers are compared with as many commands in one round trip.
pub(super) async fn floor(options: &Options, floor: &mut Floor) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (name, tasks, window) in
        [(ONE_BY_ONE, few(options), 1), (CONCURRENT, concurrent(options), CALLERS), (BULK, options.tasks(), 1_000)]
    {
        floor.clear().await?;
        samples.push(Sample::rate(name, tasks, floor.enqueue(tasks, window).await?));
    }
    Ok(samples)
}
