//! One consumer's two ends of a source: what it reads, and what it settles.

use super::{Batch, Sink, queue, stream};
use crate::Result;

/// Reads tasks.
#[allow(clippy::large_enum_variant, reason = "there are two at most")]
pub(super) enum Reader {
    Stream(stream::Reader),
    Queue(queue::Reader),
}

/// Stores results and acknowledges tasks.
pub(super) enum Settler {
    Stream(stream::Settler),
    Queue(queue::Settler),
}

impl Reader {
    /// The next tasks; none at the end.
    pub(super) async fn next(&mut self) -> Result<Batch> {
        match self {
            Self::Stream(reader) => reader.next().await,
            Self::Queue(reader) => reader.next().await,
        }
    }

    pub(super) async fn close(self) -> Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::Queue(reader) => reader.close().await,
        }
    }
}

impl Settler {
    /// Results first, then the acknowledgement; on one Redis both in one round trip, which keeps the order.
    pub(super) async fn settle(&mut self, batch: &Batch, sink: &mut Option<Sink>) -> Result<()> {
        match (self, sink) {
            (Self::Stream(settler), Some(Sink::Keys(keys))) if keys.url() == settler.url() => {
                settler.settle(keys.storing(&batch.ids), &batch.ids).await
            }
            (settler, Some(sink)) => {
                sink.save(&batch.ids).await?;
                settler.acknowledge(batch).await
            }
            (settler, None) => settler.acknowledge(batch).await,
        }
    }

    /// As [`Settler::settle`], and tells who waits.
    pub(super) async fn answer(&mut self, batch: &Batch, sink: &mut Sink) -> Result<()> {
        match (self, sink) {
            (Self::Stream(settler), Sink::Keys(keys)) if keys.url() == settler.url() => {
                settler.settle(keys.answering(&batch.ids), &batch.ids).await
            }
            (settler, sink) => {
                match sink {
                    Sink::Keys(keys) => keys.answer(&batch.ids).await?,
                    Sink::Table(table) => table.answer(&batch.ids).await?,
                }
                settler.acknowledge(batch).await
            }
        }
    }

    async fn acknowledge(&mut self, batch: &Batch) -> Result<()> {
        match self {
            Self::Stream(settler) => settler.settle(redis::pipe(), &batch.ids).await,
            Self::Queue(settler) => settler.settle(batch).await,
        }
    }
}

impl From<stream::Reader> for Reader {
    fn from(reader: stream::Reader) -> Self {
        Self::Stream(reader)
    }
}

impl From<queue::Reader> for Reader {
    fn from(reader: queue::Reader) -> Self {
        Self::Queue(reader)
    }
}

impl From<stream::Settler> for Settler {
    fn from(settler: stream::Settler) -> Self {
        Self::Stream(settler)
    }
}

impl From<queue::Settler> for Settler {
    fn from(settler: queue::Settler) -> Self {
        Self::Queue(settler)
    }
}
