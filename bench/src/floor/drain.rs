//! Working off what waits: read a batch, store its results, acknowledge it.

use std::time::{Duration, Instant};

use super::consumer::{Reader, Settler};
use super::{BATCH, BATCH_OF_ROWS, Floor, Sink, Source};
use crate::Result;

impl Floor {
    /// Takes all tasks that were sent, stores their results, acknowledges them, and returns the time it took.
    pub(crate) async fn drain(&mut self, tasks: usize, results: bool) -> Result<Duration> {
        let mut ready = Vec::new();
        let batch = match &self.sink {
            Some(Sink::Table(_)) if results => BATCH_OF_ROWS,
            _ => BATCH,
        };
        for (reader, settler) in self.source.consumers(tasks, batch).await? {
            let sink = match &self.sink {
                Some(sink) if results => Some(sink.again().await?),
                _ => None,
            };
            ready.push(consume(reader, settler, sink));
        }
        let start = Instant::now();
        let consumers: Vec<_> = ready.into_iter().map(tokio::spawn).collect();
        let (mut done, mut readers) = (Vec::new(), Vec::new());
        for consumer in consumers {
            let (ids, reader) = consumer.await??;
            done.extend(ids);
            readers.push(reader);
        }
        let took = start.elapsed();
        for reader in readers {
            reader.close().await?;
        }
        if done.len() != tasks {
            return Err(format!("the floor completed {} of {tasks} tasks", done.len()).into());
        }
        if results {
            self.finished.extend(done);
        }
        Ok(took)
    }
}

impl Source {
    /// Consumers that end when there is nothing left.
    async fn consumers(&self, tasks: usize, batch: usize) -> Result<Vec<(Reader, Settler)>> {
        match self {
            Self::Stream(stream) => {
                let consumers = stream.consumers(batch).await?;
                Ok(consumers.into_iter().map(|(reader, settler)| (reader.into(), settler.into())).collect())
            }
            Self::Queue(queue) => {
                let (reader, settler) = queue.consumer(tasks, batch).await?;
                Ok(vec![(reader.into(), settler.into())])
            }
        }
    }
}

/// The next batch is read while the one before is settled.
async fn consume(mut reader: Reader, mut settler: Settler, mut sink: Option<Sink>) -> Result<(Vec<Vec<u8>>, Reader)> {
    let mut done = Vec::new();
    let mut batch = reader.next().await?;
    while !batch.ids.is_empty() {
        let (settled, next) = tokio::join!(settler.settle(&batch, &mut sink), reader.next());
        settled?;
        done.append(&mut batch.ids);
        batch = next?;
    }
    Ok((done, reader))
}
