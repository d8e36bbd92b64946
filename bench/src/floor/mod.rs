//! The cheapest honest at-least-once task with a stored result, straight on the drivers.
//!
//! Nothing here is a framework: a source that tasks wait in, a sink that keeps results, and the order in
//! which both are written. It has to be as fast as it can be made, because every other figure is divided
//! by it.

mod consumer;
mod drain;
mod keys;
mod latency;
mod queue;
mod stream;
mod table;

use std::time::{Duration, Instant};

use crate::Result;
use crate::options::Options;
use crate::server::Store;
use keys::Keys;
use queue::Queue;
use stream::Stream;
use table::Table;

/// Long enough for a run; what is left behind ages out.
const TTL: Duration = Duration::from_secs(300);
/// Who waits longer for an answer has found a lost task.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Tasks that are settled together. A statement costs more than a command, and wants more rows.
const BATCH: usize = 100;
const BATCH_OF_ROWS: usize = 500;
/// What every task answers.
const RESULT: &[u8] = b"88";

/// Where tasks wait, and where results are kept.
pub(crate) struct Floor {
    source: Source,
    sink: Option<Sink>,
    /// Tasks whose results are stored.
    finished: Vec<Vec<u8>>,
}

#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Source {
    Stream(Stream),
    Queue(Queue),
}

enum Sink {
    Keys(Keys),
    Table(Table),
}

/// Tasks that were read and not settled; none at the end.
#[derive(Default)]
struct Batch {
    ids: Vec<Vec<u8>>,
    /// On RabbitMQ, the number of the last delivery.
    tag: u64,
}

impl Floor {
    /// Connects; there is no floor over memory.
    pub(crate) async fn new(options: &Options) -> Result<Option<Self>> {
        let broker = options.broker.as_str();
        let source = match Store::of(broker) {
            Store::Redis => Source::Stream(Stream::new(broker).await?),
            Store::RabbitMq => Source::Queue(Queue::new(broker, options.queue_type).await?),
            Store::Memory | Store::Postgres => return Ok(None),
        };
        let sink = match options.backend().map(|url| (url, Store::of(url))) {
            Some((url, Store::Redis)) => Some(Sink::Keys(Keys::new(url).await?)),
            Some((url, Store::Postgres)) => Some(Sink::Table(Table::new(url).await?)),
            _ => None,
        };
        Ok(Some(Self { source, sink, finished: Vec::new() }))
    }

    /// Removes what earlier steps have left, so that the next one meets the same servers.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        let finished = std::mem::take(&mut self.finished);
        match &mut self.sink {
            Some(Sink::Keys(keys)) => keys.forget(&finished).await?,
            Some(Sink::Table(table)) => table.clear().await?,
            None => {}
        }
        match &mut self.source {
            Source::Stream(stream) => stream.clear().await,
            Source::Queue(queue) => queue.clear().await,
        }
    }

    /// Leaves nothing behind.
    pub(crate) async fn remove(mut self) -> Result<()> {
        self.clear().await?;
        match self.sink {
            Some(Sink::Table(table)) => table.remove().await?,
            Some(Sink::Keys(_)) | None => {}
        }
        match self.source {
            Source::Stream(stream) => stream.remove().await,
            Source::Queue(queue) => queue.remove().await,
        }
    }

    /// Sends tasks, `window` of them at once, and returns the time it took.
    pub(crate) async fn enqueue(&mut self, tasks: usize, window: usize) -> Result<Duration> {
        let start = Instant::now();
        match &mut self.source {
            Source::Stream(stream) => stream.publish(tasks, window).await?,
            Source::Queue(queue) => queue.publish(tasks, window).await?,
        }
        Ok(start.elapsed())
    }

    /// Stores results, `window` of them at once, and returns the time it took; nothing without a sink.
    pub(crate) async fn save(&mut self, results: usize, window: usize) -> Result<Option<Duration>> {
        let Some(sink) = &mut self.sink else {
            return Ok(None);
        };
        let first = self.finished.len();
        self.finished.extend((first..first + results).map(|number| format!("{number:016x}").into_bytes()));
        let start = Instant::now();
        for ids in self.finished[first..].chunks(window) {
            sink.save(ids).await?;
        }
        Ok(Some(start.elapsed()))
    }
}

impl Sink {
    async fn save(&mut self, ids: &[Vec<u8>]) -> Result<()> {
        match self {
            Self::Keys(keys) => keys.save(ids).await,
            Self::Table(table) => table.save(ids).await,
        }
    }

    /// Another connection to the same place.
    async fn again(&self) -> Result<Self> {
        Ok(match self {
            Self::Keys(keys) => Self::Keys(keys.again().await?),
            Self::Table(table) => Self::Table(table.again().await?),
        })
    }
}
