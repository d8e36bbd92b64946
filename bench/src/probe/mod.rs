//! What can be measured. Each probe measures windlass and then, in the same repetition, the floor.

mod drain;
mod enqueue;
mod idle;
mod latency;
mod memory;
mod save;

use tokio::runtime::{Builder, Runtime};

use crate::Result;
use crate::floor::Floor;
use crate::options::{Options, Probe};
use crate::report::Report;
use crate::sample::{Sample, medians};
use crate::server::{self, Server, Store};

/// Warms up, measures as often as asked, and compares the medians.
pub(crate) fn measure(options: &Options) -> Result<Report> {
    // The floor is fastest on one thread; windlass runs as applications run it.
    let ours_on = Builder::new_multi_thread().enable_all().build()?;
    let floor_on = Builder::new_current_thread().enable_all().build()?;
    check(options)?;
    let servers = floor_on.block_on(Server::ask_all(options))?;
    let warm_up = u64::from(!matches!(options.probe, Probe::Idle | Probe::Memory));
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for repetition in 0..options.repeat + warm_up {
        if options.flush {
            floor_on.block_on(server::flush(options))?;
        }
        let figures = once(options, &ours_on, &floor_on);
        // Also after a failure, nothing is left behind.
        floor_on.block_on(server::remove(options))?;
        let (run, floor) = figures?;
        if repetition >= warm_up {
            ours.push(run);
            floors.push(floor);
        }
    }
    Ok(Report::new(options, servers, &medians(&ours), &medians(&floors)))
}

/// Some probes read what only Redis tells, others have no meaning without a server.
fn check(options: &Options) -> Result<()> {
    let stores: Vec<Store> = options.urls().into_iter().map(Store::of).collect();
    match options.probe {
        Probe::Memory if stores != [Store::Redis] => {
            Err("this probe reads the memory of one Redis server: --broker must be redis://… and --backend the same"
                .into())
        }
        Probe::Floor | Probe::Idle if stores[0] == Store::Memory => {
            Err("this probe needs a server: --broker must be redis://… or amqp://…".into())
        }
        _ => Ok(()),
    }
}

/// One repetition: the figures, and those of the floor where there is one.
fn once(options: &Options, ours_on: &Runtime, floor_on: &Runtime) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let ours = ours_on.block_on(async {
        match options.probe {
            Probe::Floor => Ok(Vec::new()),
            Probe::Enqueue => enqueue::ours(options).await,
            Probe::Drain => drain::ours(options).await,
            Probe::Save => save::ours(options).await,
            Probe::Latency => latency::ours(options).await,
            Probe::Idle => idle::ours(options).await,
            Probe::Memory => memory::ours(options).await,
        }
    })?;
    let floor = floor_on.block_on(measure_floor(options))?;
    // The floor alone is what is asked for, and has nothing to be compared with.
    Ok(if options.probe == Probe::Floor { (floor, Vec::new()) } else { (ours, floor) })
}

async fn measure_floor(options: &Options) -> Result<Vec<Sample>> {
    let Some(mut floor) = Floor::new(options).await? else {
        return Ok(Vec::new());
    };
    let samples = match options.probe {
        Probe::Floor => every(options, &mut floor).await,
        Probe::Enqueue => enqueue::floor(options, &mut floor).await,
        Probe::Drain => drain::floor(options, &mut floor).await,
        Probe::Save => save::floor(options, &mut floor).await,
        Probe::Latency => latency::floor(options, &mut floor).await,
        Probe::Idle => Ok(Vec::new()),
        Probe::Memory => memory::floor(options, &mut floor).await,
    };
    floor.remove().await?;
    samples
}

/// All figures of the floor.
async fn every(options: &Options, floor: &mut Floor) -> Result<Vec<Sample>> {
    let mut samples = enqueue::floor(options, floor).await?;
    samples.extend(drain::floor(options, floor).await?);
    samples.extend(save::floor(options, floor).await?);
    samples.extend(latency::floor(options, floor).await?);
    if options.urls() == options.urls_of(Store::Redis) && options.urls().len() == 1 {
        samples.extend(memory::floor(options, floor).await?);
    }
    Ok(samples)
}
