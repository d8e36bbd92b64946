//! The application under test: a client, a worker, and one small task.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass::{Call, Config, TaskDef, TaskHandle, Windlass, Worker};

use crate::Result;
use crate::options::Options;
use crate::server::Store;

/// The only argument of the task.
const TEXT: &str = "somebody@example.org, template welcome-to-the-club, language en-GB, attachment 04711.pdf";

/// The arguments as they travel: 92 bytes, as small tasks of real applications have.
pub(crate) const BODY: &[u8] =
    br#"["somebody@example.org, template welcome-to-the-club, language en-GB, attachment 04711.pdf"]"#;

const TASK: TaskDef<(String,), usize> = TaskDef::new("bench");

/// Longer than any probe takes; who waits for it has found a lost task.
const LIMIT: Duration = Duration::from_secs(300);

/// Tasks in one call of `enqueue_many`.
const BULK: usize = 1_000;

/// An application with a queue of its own.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The side that sends.
    pub(crate) client: Windlass,
    worker: Windlass,
    queue: String,
    concurrency: usize,
}

impl Target {
    /// Connects both sides; `results` says whether results are kept.
    pub(crate) async fn connect(options: &Options, results: bool) -> Result<Self> {
        let config = config(options, results)?;
        let connect = || Windlass::builder().config(config.clone()).connect();
        let client = connect().await?;
        // A memory store belongs to one application; over a server, worker and client are strangers.
        let alone = Store::of(&options.broker) == Store::Memory;
        let worker = if alone { client.clone() } else { connect().await? };
        Ok(Self { client, worker, queue: unused_queue(), concurrency: options.concurrency })
    }

    /// A call of the task.
    pub(crate) fn call(&self) -> Call<usize> {
        TASK.call((TEXT.to_owned(),)).queue(&self.queue)
    }

    /// Sends tasks in bulk and returns a handle to the last one.
    pub(crate) async fn enqueue(&self, tasks: usize) -> Result<TaskHandle<usize>> {
        let mut last = None;
        let mut sent = 0;
        while sent < tasks {
            let size = BULK.min(tasks - sent);
            let calls: Vec<_> = (0..size).map(|_| self.call()).collect();
            for handle in self.client.enqueue_many(calls).await {
                last = Some(handle?);
            }
            sent += size;
        }
        last.ok_or_else(|| "no task was sent".into())
    }

    /// Starts the worker.
    pub(crate) async fn start(&self) -> Result<Running> {
        let progress = Arc::new(Progress::default());
        let counted = Arc::clone(&progress);
        let task = move |text: String| {
            counted.count();
            async move { text.len() }
        };
        let worker = self.worker.worker().queue(&self.queue, self.concurrency).register_fn(TASK, task);
        Ok(Running { worker: worker.start().await?, progress })
    }

    /// Works off so many tasks and checks that there were exactly so many.
    pub(crate) async fn drain(&self, tasks: usize) -> Result<Duration> {
        self.start().await?.finish(tasks).await
    }

    /// Waits for the result of a task and checks it.
    pub(crate) async fn check(&self, handle: &TaskHandle<usize>) -> Result<()> {
        match handle.result_within(LIMIT).await? {
            length if length == TEXT.len() => Ok(()),
            length => Err(format!("a task returned {length} instead of {}", TEXT.len()).into()),
        }
    }

    /// Releases the connections of both sides.
    pub(crate) async fn close(&self) {
        self.client.close().await;
        self.worker.close().await;
    }
}

/// Where windlass works. On servers that list nothing, all names begin with one of this run, so that
/// `server::remove` finds them.
fn config(options: &Options, results: bool) -> Result<Config> {
    let store = |url: &str| match Store::of(url) {
        Store::RabbitMq => json!({ "url": url, "prefix": namespace(), "queue_type": options.queue_type.name() }),
        Store::Postgres => json!({ "url": url, "schema": schema() }),
        Store::Memory | Store::Redis => json!({ "url": url }),
    };
    let backend: Value = match options.backend() {
        Some(url) if results => store(url),
        _ => json!({ "url": "none" }),
    };
    Ok(serde_json::from_value(json!({ "broker": store(&options.broker), "backend": backend }))?)
}

/// The start of all names that this run uses, so that runs do not meet.
pub(crate) fn namespace() -> String {
    format!("windlass-bench-{}", std::process::id())
}

/// The same as the name of a schema.
pub(crate) fn schema() -> String {
    namespace().replace('-', "_")
}

static QUEUES: AtomicU32 = AtomicU32::new(0);

/// What an earlier run left in a queue would be counted as ours.
fn unused_queue() -> String {
    queue(QUEUES.fetch_add(1, Ordering::Relaxed))
}

fn queue(number: u32) -> String {
    format!("{}-{number}", namespace())
}

/// The queues that this run has used.
pub(crate) fn used_queues() -> impl Iterator<Item = String> {
    (0..QUEUES.load(Ordering::Relaxed)).map(queue)
}

#[derive(Debug, Default)]
struct Progress {
    first: OnceLock<Instant>,
    runs: AtomicUsize,
}

impl Progress {
    fn count(&self) {
        self.first.get_or_init(Instant::now);
        self.runs.fetch_add(1, Ordering::Relaxed);
    }
}

/// A worker at work.
#[derive(Debug)]
pub(crate) struct Running {
    worker: Worker,
    progress: Arc<Progress>,
}

impl Running {
    /// Waits until so many tasks have run and are settled, and returns the time since the first one.
    pub(crate) async fn finish(self, tasks: usize) -> Result<Duration> {
        let end = Instant::now() + LIMIT;
        while self.progress.runs.load(Ordering::Relaxed) < tasks {
            if Instant::now() >= end {
                let runs = self.progress.runs.load(Ordering::Relaxed);
                return Err(format!("{runs} of {tasks} tasks ran within {LIMIT:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The shutdown ends when the last task is settled, so that nothing is measured unfinished.
        let report = self.worker.shutdown().await;
        let took = self.progress.first.get().map_or(Duration::ZERO, Instant::elapsed);
        let runs = self.progress.runs.load(Ordering::Relaxed);
        // What was given back without having begun came again, and is counted where it ran.
        let lost = report.lost + report.abandoned + report.failed + report.retried;
        if runs != tasks || report.succeeded != tasks as u64 || lost > 0 {
            return Err(format!("{tasks} tasks were sent, {runs} ran, the worker reports: {report}").into());
        }
        Ok(took)
    }

    /// Ends the worker.
    pub(crate) async fn stop(self) {
        self.worker.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_carries_the_same_body() {
        let parts = TASK.call((TEXT.to_owned(),)).into_parts().unwrap();
        assert_eq!(parts.payload, BODY);
        assert_eq!(BODY.len(), 92);
    }
}
