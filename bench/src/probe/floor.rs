//! The cheapest honest at-least-once task with a stored result, straight on the driver.
//!
//! Nothing here is a framework: one stream, one group, two consumers, and a result key a task.
//! It has to be as fast as it can be made, because every other figure is divided by it.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value, cmd};

use crate::Result;
use crate::redis_info::{connect, namespace};
use crate::target::BODY;

const GROUP: &str = "workers";
const CONSUMERS: usize = 2;
const BATCH: usize = 100;
/// Long enough for a run; what is left behind ages out.
const RESULT_TTL_SECONDS: u64 = 300;
const ANSWER_WITHIN_SECONDS: u64 = 5;

/// A stream on a server, empty at first.
pub(super) struct Floor {
    url: String,
    connection: MultiplexedConnection,
    keys: Keys,
    /// Tasks whose results are stored.
    finished: Vec<Vec<u8>>,
}

/// The names of what is stored.
#[derive(Clone)]
struct Keys {
    stream: String,
    reply: String,
    result: String,
}

impl Floor {
    /// Connects and makes the stream.
    pub(super) async fn new(url: &str) -> Result<Self> {
        let name = namespace();
        let keys =
            Keys { stream: format!("{name}:stream"), reply: format!("{name}:reply"), result: format!("{name}:r:") };
        let mut floor = Self { url: url.to_owned(), connection: connect(url).await?, keys, finished: Vec::new() };
        floor.clear().await?;
        Ok(floor)
    }

    /// Removes what earlier steps have left, so that the next one meets the same server.
    pub(super) async fn clear(&mut self) -> Result<()> {
        for ids in std::mem::take(&mut self.finished).chunks(1_000) {
            let keys: Vec<_> = ids.iter().map(|id| self.keys.result_of(id)).collect();
            cmd("DEL").arg(keys).exec_async(&mut self.connection).await?;
        }
        let Keys { stream, reply, .. } = &self.keys;
        cmd("DEL").arg(stream).arg(reply).exec_async(&mut self.connection).await?;
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(stream).arg(GROUP).arg("0").arg("MKSTREAM");
        create.exec_async(&mut self.connection).await?;
        Ok(())
    }

    /// Sends tasks, `window` of them in one round trip, and returns the time it took.
    pub(super) async fn enqueue(&mut self, tasks: usize, window: usize) -> Result<Duration> {
        let start = Instant::now();
        let mut pipeline = Pipeline::with_capacity(window);
        let mut sent = 0;
        while sent < tasks {
            let size = window.min(tasks - sent);
            if size == 1 {
                self.keys.publish().exec_async(&mut self.connection).await?;
            } else {
                pipeline.clear();
                for _ in 0..size {
                    pipeline.add_command(self.keys.publish()).ignore();
                }
                pipeline.exec_async(&mut self.connection).await?;
            }
            sent += size;
        }
        Ok(start.elapsed())
    }

    /// Takes, settles and stores the results of all tasks that were sent, and returns the time it took.
    pub(super) async fn drain(&mut self, tasks: usize, results: bool) -> Result<Duration> {
        let mut connections = Vec::new();
        for _ in 0..CONSUMERS {
            connections.push(connect(&self.url).await?);
        }
        let start = Instant::now();
        let spawn = |(number, connection)| tokio::spawn(consume(connection, self.keys.clone(), number, results));
        let consumers: Vec<_> = connections.into_iter().enumerate().map(spawn).collect();
        let mut done = Vec::new();
        for consumer in consumers {
            done.push(consumer.await??);
        }
        let took = start.elapsed();
        self.finished.extend(done.into_iter().flatten().flatten());
        if self.finished.len() != tasks {
            return Err(format!("the floor completed {} of {tasks} tasks", self.finished.len()).into());
        }
        Ok(took)
    }

    /// The times from sending a task to holding its result, one after the other.
    pub(super) async fn latencies(&mut self, tasks: usize) -> Result<Vec<Duration>> {
        let mut reader = connect(&self.url).await?;
        let worker = tokio::spawn(answer(connect(&self.url).await?, self.keys.clone(), tasks));
        let mut times = Vec::with_capacity(tasks);
        let mut wait = cmd("BLPOP");
        wait.arg(&self.keys.reply).arg(ANSWER_WITHIN_SECONDS);
        for _ in 0..tasks {
            let start = Instant::now();
            let publish = self.keys.publish();
            let (sent, answer) =
                tokio::join!(publish.exec_async(&mut self.connection), reader.send_packed_command(&wait));
            sent?;
            if !matches!(answer?, Value::Array(_)) {
                return Err(format!("the floor did not answer a task within {ANSWER_WITHIN_SECONDS} s").into());
            }
            times.push(start.elapsed());
        }
        self.finished.extend(worker.await??);
        Ok(times)
    }
}

impl Keys {
    fn publish(&self) -> Cmd {
        let mut command = Cmd::with_capacity(5, 64 + BODY.len());
        command.arg("XADD").arg(&self.stream).arg("*").arg("b").arg(BODY);
        command
    }

    fn read(&self, consumer: usize) -> Cmd {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(consumer);
        command
    }

    fn result_of(&self, id: &[u8]) -> Vec<u8> {
        [self.result.as_bytes(), id].concat()
    }

    fn store(&self, id: &[u8]) -> Cmd {
        let mut command = Cmd::with_capacity(5, 96);
        command.arg("SET").arg(self.result_of(id)).arg(b"88").arg("EX").arg(RESULT_TTL_SECONDS);
        command
    }

    /// Acknowledges and removes a batch, and stores a result a task, in one round trip.
    fn settle(&self, ids: &[Vec<u8>], results: bool) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(ids.len() + 2);
        if results {
            for id in ids {
                pipeline.add_command(self.store(id)).ignore();
            }
        }
        let mut acknowledge = Cmd::with_capacity(ids.len() + 3, ids.len() * 24);
        acknowledge.arg("XACK").arg(&self.stream).arg(GROUP).arg(ids);
        let mut remove = Cmd::with_capacity(ids.len() + 2, ids.len() * 24);
        remove.arg("XDEL").arg(&self.stream).arg(ids);
        pipeline.add_command(acknowledge).ignore().add_command(remove).ignore();
        pipeline
    }
}

/// One consumer: the next batch is read while the one before is settled.
async fn consume(
    mut connection: MultiplexedConnection,
    keys: Keys,
    consumer: usize,
    results: bool,
) -> Result<Vec<Vec<Vec<u8>>>> {
    let mut read = keys.read(consumer);
    read.arg("COUNT").arg(BATCH).arg("STREAMS").arg(&keys.stream).arg(">");
    let mut reader = connection.clone();
    let mut batch = ids(connection.send_packed_command(&read).await?)?;
    let mut done = Vec::new();
    while !batch.is_empty() {
        let settle = keys.settle(&batch, results);
        let (settled, next) = tokio::join!(settle.exec_async(&mut connection), reader.send_packed_command(&read));
        settled?;
        done.push(batch);
        batch = ids(next?)?;
    }
    Ok(done)
}

/// Answers tasks one by one as soon as they arrive.
async fn answer(mut connection: MultiplexedConnection, keys: Keys, tasks: usize) -> Result<Vec<Vec<u8>>> {
    let mut read = keys.read(0);
    read.arg("COUNT").arg(1).arg("BLOCK").arg(ANSWER_WITHIN_SECONDS * 1_000);
    read.arg("STREAMS").arg(&keys.stream).arg(">");
    let mut done = Vec::with_capacity(tasks);
    while done.len() < tasks {
        let batch = ids(connection.send_packed_command(&read).await?)?;
        if batch.is_empty() {
            return Err(format!("the floor received no task within {ANSWER_WITHIN_SECONDS} s").into());
        }
        let mut pipeline = keys.settle(&batch, true);
        pipeline.cmd("RPUSH").arg(&keys.reply).arg(b"88").ignore();
        pipeline.exec_async(&mut connection).await?;
        done.extend(batch);
    }
    Ok(done)
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
