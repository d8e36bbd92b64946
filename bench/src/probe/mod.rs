//! What can be measured. Each probe measures windlass and then, in the same repetition, the floor.

mod drain;
mod enqueue;
mod floor;
mod idle;
mod latency;
mod memory;

use redis::cmd;
use tokio::runtime::{Builder, Runtime};

use crate::Result;
use crate::options::{Options, Probe};
use crate::redis_info::{Server, connect, is_redis};
use crate::report::Report;
use crate::sample::{Sample, medians};
use floor::Floor;

/// Warms up, measures as often as asked, and compares the medians.
pub(crate) fn measure(options: &Options) -> Result<Report> {
    // The floor is fastest on one thread; windlass runs as applications run it.
    let ours_on = Builder::new_multi_thread().enable_all().build()?;
    let floor_on = Builder::new_current_thread().enable_all().build()?;
    let redis = is_redis(&options.broker);
    let needs_redis = matches!(options.probe, Probe::Floor | Probe::Idle | Probe::Memory);
    if needs_redis && !redis {
        return Err("this probe reads a Redis server: --broker must be redis://…".into());
    }
    let warm_up = u64::from(!matches!(options.probe, Probe::Idle | Probe::Memory));
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for repetition in 0..options.repeat + warm_up {
        if options.flush && redis {
            floor_on.block_on(flush(&options.broker))?;
        }
        let (run, floor) = once(options, redis, &ours_on, &floor_on)?;
        if repetition >= warm_up {
            ours.push(run);
            floors.push(floor);
        }
    }
    let server = if redis { Some(floor_on.block_on(Server::ask(&options.broker))?) } else { None };
    Ok(Report::new(options, server, &medians(&ours), &medians(&floors)))
}

/// One repetition: the figures, and those of the floor where there is one.
fn once(options: &Options, redis: bool, ours_on: &Runtime, floor_on: &Runtime) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let ours = ours_on.block_on(async {
        match options.probe {
            Probe::Floor => Ok(Vec::new()),
            Probe::Enqueue => enqueue::ours(options).await,
            Probe::Drain => drain::ours(options).await,
            Probe::Latency => latency::ours(options).await,
            Probe::Idle => idle::ours(options).await,
            Probe::Memory => memory::ours(options).await,
        }
    })?;
    if !redis {
        return Ok((ours, Vec::new()));
    }
    let floor = floor_on.block_on(async {
        let mut floor = Floor::new(&options.broker).await?;
        let samples = match options.probe {
            Probe::Floor => every(options, &mut floor).await,
            Probe::Enqueue => enqueue::floor(options, &mut floor).await,
            Probe::Drain => drain::floor(options, &mut floor).await,
            Probe::Latency => latency::floor(options, &mut floor).await,
            Probe::Idle => Ok(Vec::new()),
            Probe::Memory => memory::floor(options, &mut floor).await,
        };
        floor.clear().await?;
        samples
    })?;
    // The floor alone is what is asked for, and has nothing to be compared with.
    Ok(if options.probe == Probe::Floor { (floor, Vec::new()) } else { (ours, floor) })
}

/// All figures of the floor.
async fn every(options: &Options, floor: &mut Floor) -> Result<Vec<Sample>> {
    let mut samples = enqueue::floor(options, floor).await?;
    samples.extend(drain::floor(options, floor).await?);
    samples.extend(latency::floor(options, floor).await?);
    samples.extend(memory::floor(options, floor).await?);
    Ok(samples)
}

async fn flush(url: &str) -> Result<()> {
    Ok(cmd("FLUSHALL").exec_async(&mut connect(url).await?).await?)
}
