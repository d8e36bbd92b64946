//! From sending a task to holding its result: a blocked consumer and a blocked reader.

use std::time::{Duration, Instant};

use super::consumer::{Reader, Settler};
use super::keys::Keys;
use super::table::Listener;
use super::{ANSWER_WITHIN, Floor, Sink, Source};
use crate::Result;

/// Who waits for results.
enum Waiter {
    Keys(Keys),
    Table(Listener),
}

impl Floor {
    /// The times of so many tasks, one after the other; none without a sink.
    pub(crate) async fn latencies(&mut self, tasks: usize) -> Result<Vec<Duration>> {
        let Some(sink) = &self.sink else {
            return Ok(Vec::new());
        };
        let mut waiter = match sink {
            Sink::Keys(keys) => Waiter::Keys(keys.again().await?),
            Sink::Table(table) => Waiter::Table(table.listener().await?),
        };
        let (reader, settler) = self.source.waiting_consumer(tasks).await?;
        let worker = tokio::spawn(answer(reader, settler, sink.again().await?, tasks));
        let mut times = Vec::with_capacity(tasks);
        for _ in 0..tasks {
            let start = Instant::now();
            let (sent, answered) = tokio::join!(self.enqueue(1, 1), waiter.wait());
            sent?;
            answered?;
            times.push(start.elapsed());
        }
        self.finished.extend(worker.await??);
        Ok(times)
    }
}

impl Source {
    /// A consumer that takes one task at a time, as soon as it arrives.
    async fn waiting_consumer(&self, tasks: usize) -> Result<(Reader, Settler)> {
        Ok(match self {
            Self::Stream(stream) => {
                let (reader, settler) = stream.waiting_consumer().await?;
                (reader.into(), settler.into())
            }
            Self::Queue(queue) => {
                let (reader, settler) = queue.waiting_consumer(tasks).await?;
                (reader.into(), settler.into())
            }
        })
    }
}

impl Waiter {
    async fn wait(&mut self) -> Result<()> {
        match self {
            Self::Keys(keys) => keys.wait().await,
            Self::Table(listener) => listener.wait().await,
        }
    }
}

/// Answers tasks one by one.
async fn answer(mut reader: Reader, mut settler: Settler, mut sink: Sink, tasks: usize) -> Result<Vec<Vec<u8>>> {
    let mut done = Vec::with_capacity(tasks);
    while done.len() < tasks {
        let batch = reader.next().await?;
        if batch.ids.is_empty() {
            return Err(format!("the floor received no task within {ANSWER_WITHIN:?}").into());
        }
        settler.answer(&batch, &mut sink).await?;
        done.extend(batch.ids);
    }
    reader.close().await?;
    Ok(done)
}
