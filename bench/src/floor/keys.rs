//! Results on Redis: a key a task.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value, cmd};

use super::{ANSWER_WITHIN, RESULT, TTL};
use crate::Result;
use crate::server::redis::connect;
use crate::target::namespace;

/// The keys of one run.
pub(super) struct Keys {
    url: String,
    connection: MultiplexedConnection,
    prefix: String,
}

impl Keys {
    pub(super) async fn new(url: &str) -> Result<Self> {
        Ok(Self { url: url.to_owned(), connection: connect(url).await?, prefix: format!("{}:r:", namespace()) })
    }

    /// The same keys over another connection.
    pub(super) async fn again(&self) -> Result<Self> {
        Self::new(&self.url).await
    }

    /// The server that they are on.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stores the results of these tasks in one round trip.
    pub(super) async fn save(&mut self, ids: &[Vec<u8>]) -> Result<()> {
        Ok(self.storing(ids).exec_async(&mut self.connection).await?)
    }

    /// As [`Keys::save`], and tells who waits.
    pub(super) async fn answer(&mut self, ids: &[Vec<u8>]) -> Result<()> {
        Ok(self.answering(ids).exec_async(&mut self.connection).await?)
    }

    /// The commands that store the results of these tasks.
    pub(super) fn storing(&self, ids: &[Vec<u8>]) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(ids.len() + 2);
        for id in ids {
            let mut command = Cmd::with_capacity(5, 96);
            command.arg("SET").arg(self.key(id)).arg(RESULT).arg("EX").arg(TTL.as_secs());
            pipeline.add_command(command).ignore();
        }
        pipeline
    }

    /// The same, and one that tells who waits.
    pub(super) fn answering(&self, ids: &[Vec<u8>]) -> Pipeline {
        let mut pipeline = self.storing(ids);
        pipeline.cmd("RPUSH").arg(self.inbox()).arg(RESULT).ignore();
        pipeline
    }

    /// Waits for an answer.
    pub(super) async fn wait(&mut self) -> Result<()> {
        let mut wait = cmd("BLPOP");
        wait.arg(self.inbox()).arg(ANSWER_WITHIN.as_secs());
        match self.connection.send_packed_command(&wait).await? {
            Value::Array(_) => Ok(()),
            _ => Err(format!("the floor did not answer a task within {ANSWER_WITHIN:?}").into()),
        }
    }

    /// Removes the results of these tasks, and answers that nobody waited for.
    pub(super) async fn forget(&mut self, ids: &[Vec<u8>]) -> Result<()> {
        for ids in ids.chunks(1_000) {
            let keys: Vec<_> = ids.iter().map(|id| self.key(id)).collect();
            cmd("DEL").arg(keys).exec_async(&mut self.connection).await?;
        }
        Ok(cmd("DEL").arg(self.inbox()).exec_async(&mut self.connection).await?)
    }

    fn key(&self, id: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), id].concat()
    }

    fn inbox(&self) -> String {
        format!("{}inbox", self.prefix)
    }
}
