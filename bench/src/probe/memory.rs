//! The bytes that the server needs for a task that waits and for one that is finished.

use crate::Result;
use crate::floor::Floor;
use crate::options::Options;
use crate::sample::Sample;
use crate::server::redis::{connect, used_memory};
use crate::target::Target;

/// The memory of the server at three times.
struct Levels {
    empty: f64,
    queued: f64,
    finished: f64,
}

impl Levels {
    fn samples(&self, tasks: usize) -> Vec<Sample> {
        let each = |level: f64| (level - self.empty) / tasks as f64;
        vec![
            Sample::new("memory of a queued task", "bytes", each(self.queued)),
            Sample::new("memory of a finished task", "bytes", each(self.finished)),
        ]
    }
}

/// Fills a queue and empties it.
pub(super) async fn ours(options: &Options) -> Result<Vec<Sample>> {
    let mut server = connect(&options.broker).await?;
    let target = Target::connect(options, true).await?;
    let empty = used_memory(&mut server).await?;
    let last = target.enqueue(options.tasks()).await?;
    let queued = used_memory(&mut server).await?;
    target.drain(options.tasks()).await?;
    target.check(&last).await?;
    let finished = used_memory(&mut server).await?;
    target.close().await;
    let mut samples = Levels { empty, queued, finished }.samples(options.tasks());
    if let Some(bytes) = resident() {
        samples.push(Sample::new("memory of worker and client", "MiB", bytes / f64::from(1 << 20)));
    }
    Ok(samples)
}

/// The same with a stream and result keys.
pub(super) async fn floor(options: &Options, floor: &mut Floor) -> Result<Vec<Sample>> {
    let tasks = options.tasks();
    let mut server = connect(&options.broker).await?;
    floor.clear().await?;
    let empty = used_memory(&mut server).await?;
    floor.enqueue(tasks, 1_000).await?;
    let queued = used_memory(&mut server).await?;
    floor.drain(tasks, true).await?;
    let finished = used_memory(&mut server).await?;
    Ok(Levels { empty, queued, finished }.samples(tasks))
}

/// The resident memory of this process, where the system tells.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}
