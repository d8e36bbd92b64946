//! Working off tasks that wait already: from the first run to the last acknowledgement.

use crate::Result;
use crate::floor::Floor;
use crate::options::Options;
use crate::sample::Sample;
use crate::server::Store;
use crate::server::redis::{Meter, Work};
use crate::target::Target;

/// The names of the figures of one way to drain.
struct Names {
    results: bool,
    rate: &'static str,
    cpu: &'static str,
    commands: &'static str,
}

const WAYS: [Names; 2] = [
    Names { results: true, rate: "drain with results", cpu: "  Redis CPU a task", commands: "  Redis commands a task" },
    Names {
        results: false,
        rate: "drain without results",
        cpu: "  Redis CPU a task, no results",
        commands: "  commands a task, no results",
    },
];

impl Names {
    fn samples(&self, tasks: usize, took: std::time::Duration, work: Option<Work>) -> Vec<Sample> {
        let mut samples = vec![Sample::rate(self.rate, tasks, took)];
        if let Some(work) = work {
            samples.push(Sample::new(self.cpu, "µs", work.cpu * 1e6 / tasks as f64));
            samples.push(Sample::new(self.commands, "", work.commands / tasks as f64));
        }
        samples
    }
}

/// Results are measured only where there is a place for them.
fn ways(options: &Options) -> impl Iterator<Item = Names> {
    let kept = options.backend().is_some();
    WAYS.into_iter().filter(move |way| kept || !way.results)
}

/// One worker, first with results and then without.
pub(super) async fn ours(options: &Options) -> Result<Vec<Sample>> {
    let tasks = options.tasks();
    let mut samples = Vec::new();
    for way in ways(options) {
        let target = Target::connect(options, way.results).await?;
        let last = target.enqueue(tasks).await?;
        let meter = Meter::start(&options.urls_of(Store::Redis)).await?;
        let took = target.drain(tasks).await?;
        samples.extend(way.samples(tasks, took, meter.stop().await?));
        if way.results {
            target.check(&last).await?;
        }
        target.close().await;
    }
    Ok(samples)
}

/// The same straight on the drivers.
pub(super) async fn floor(options: &Options, floor: &mut Floor) -> Result<Vec<Sample>> {
    let tasks = options.tasks();
    let mut samples = Vec::new();
    for way in ways(options) {
        floor.clear().await?;
        floor.enqueue(tasks, 1_000).await?;
        let meter = Meter::start(&options.urls_of(Store::Redis)).await?;
        let took = floor.drain(tasks, way.results).await?;
        samples.extend(way.samples(tasks, took, meter.stop().await?));
    }
    Ok(samples)
}
