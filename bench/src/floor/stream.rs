//! Tasks on Redis: one stream, one group, two consumers.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value, cmd};

use super::{ANSWER_WITHIN, Batch};
use crate::Result;
use crate::server::redis::connect;
use crate::target::{BODY, namespace};

const GROUP: &str = "workers";
const CONSUMERS: usize = 2;

/// A stream on a server, empty at first.
pub(super) struct Stream {
    url: String,
    connection: MultiplexedConnection,
    name: String,
}

/// Reads what nobody has read.
pub(super) struct Reader {
    connection: MultiplexedConnection,
    read: Cmd,
}

/// Acknowledges and removes.
pub(super) struct Settler {
    url: String,
    connection: MultiplexedConnection,
    stream: String,
}

impl Stream {
    /// Connects and makes the stream.
    pub(super) async fn new(url: &str) -> Result<Self> {
        let name = format!("{}:stream", namespace());
        let mut stream = Self { url: url.to_owned(), connection: connect(url).await?, name };
        stream.clear().await?;
        Ok(stream)
    }

    /// Makes it anew.
    pub(super) async fn clear(&mut self) -> Result<()> {
        cmd("DEL").arg(&self.name).exec_async(&mut self.connection).await?;
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(&self.name).arg(GROUP).arg("0").arg("MKSTREAM");
        Ok(create.exec_async(&mut self.connection).await?)
    }

    pub(super) async fn remove(mut self) -> Result<()> {
        Ok(cmd("DEL").arg(&self.name).exec_async(&mut self.connection).await?)
    }

    /// Sends tasks, `window` of them in one round trip.
    pub(super) async fn publish(&mut self, tasks: usize, window: usize) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(window);
        let mut sent = 0;
        while sent < tasks {
            let size = window.min(tasks - sent);
            if size == 1 {
                self.task().exec_async(&mut self.connection).await?;
            } else {
                pipeline.clear();
                for _ in 0..size {
                    pipeline.add_command(self.task()).ignore();
                }
                pipeline.exec_async(&mut self.connection).await?;
            }
            sent += size;
        }
        Ok(())
    }

    fn task(&self) -> Cmd {
        let mut command = Cmd::with_capacity(5, 64 + BODY.len());
        command.arg("XADD").arg(&self.name).arg("*").arg("b").arg(BODY);
        command
    }

    /// Consumers that end when there is nothing to read, each on a connection of its own.
    pub(super) async fn consumers(&self, batch: usize) -> Result<Vec<(Reader, Settler)>> {
        let mut consumers = Vec::new();
        for number in 0..CONSUMERS {
            consumers.push(self.consumer(number, batch, None).await?);
        }
        Ok(consumers)
    }

    /// A consumer that waits for one task at a time.
    pub(super) async fn waiting_consumer(&self) -> Result<(Reader, Settler)> {
        self.consumer(0, 1, Some(ANSWER_WITHIN.as_millis())).await
    }

    async fn consumer(&self, number: usize, batch: usize, block: Option<u128>) -> Result<(Reader, Settler)> {
        let connection = connect(&self.url).await?;
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(number).arg("COUNT").arg(batch);
        if let Some(millis) = block {
            read.arg("BLOCK").arg(millis.to_string());
        }
        read.arg("STREAMS").arg(&self.name).arg(">");
        let settler = Settler { url: self.url.clone(), connection: connection.clone(), stream: self.name.clone() };
        Ok((Reader { connection, read }, settler))
    }
}

impl Reader {
    /// The next tasks; none if there was nothing.
    pub(super) async fn next(&mut self) -> Result<Batch> {
        let ids = ids(self.connection.send_packed_command(&self.read).await?)?;
        Ok(Batch { ids, tag: 0 })
    }
}

impl Settler {
    /// The server that the stream is on.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Acknowledges and removes a batch, behind what the pipeline holds already.
    pub(super) async fn settle(&mut self, mut pipeline: Pipeline, ids: &[Vec<u8>]) -> Result<()> {
        let mut acknowledge = Cmd::with_capacity(ids.len() + 3, ids.len() * 24);
        acknowledge.arg("XACK").arg(&self.stream).arg(GROUP).arg(ids);
        let mut remove = Cmd::with_capacity(ids.len() + 2, ids.len() * 24);
        remove.arg("XDEL").arg(&self.stream).arg(ids);
        pipeline.add_command(acknowledge).ignore().add_command(remove).ignore();
        Ok(pipeline.exec_async(&mut self.connection).await?)
    }
}

/// The ids in the answer of XREADGROUP; none when there was nothing.
fn ids(answer: Value) -> Result<Vec<Vec<u8>>> {
    let unexpected = || "XREADGROUP answered in an unexpected form".to_owned();
    let Value::Array(streams) = answer else {
        return Ok(Vec::new());
    };
    let Some(Value::Array(mut stream)) = streams.into_iter().next() else {
        return Err(unexpected().into());
    };
    let Some(Value::Array(entries)) = stream.pop() else {
        return Err(unexpected().into());
    };
    let id = |entry: Value| match entry {
        Value::Array(parts) => match parts.into_iter().next() {
            Some(Value::BulkString(id)) => Ok(id),
            _ => Err(unexpected().into()),
        },
        _ => Err(unexpected().into()),
    };
    entries.into_iter().map(id).collect()
}
