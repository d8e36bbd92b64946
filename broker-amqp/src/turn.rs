//! The turn to read the dead letters of a queue: one at a time in this process, and among all.

use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep};
use windlass_core::Result;

use crate::broker::Shared;
use crate::connection::{Link, Live};
use crate::error::{RESOURCE_LOCKED, code, failed, too_slow};
use crate::reading::OPERATION;
use crate::thread::Spawner;

/// How soon somebody who waits for the end of another reading looks again.
const AGAIN: Duration = Duration::from_millis(20);

/// Ours as long as this exists. Whoever is interrupted gives it up in the background.
#[derive(Debug)]
pub(crate) struct Turn(Option<Lock>, Spawner);

/// A queue that belongs to our connection and ends with it.
#[derive(Debug)]
struct Lock {
    link: Link,
    live: Live,
    name: String,
    /// The turn in this process.
    _turn: OwnedMutexGuard<()>,
}

impl Turn {
    /// Waits until nobody else reads the AMQP queue `name`.
    pub(crate) async fn take(shared: &Shared, turn: OwnedMutexGuard<()>, live: &Live, name: &str) -> Result<Self> {
        let lock = Lock {
            link: shared.parts.consume.clone(),
            live: live.clone(),
            name: format!("{name}.reading"),
            _turn: turn,
        };
        lock.take(shared.config.send_timeout).await?;
        Ok(Self(Some(lock), shared.spawner.clone()))
    }

    /// The turn of the next.
    pub(crate) async fn give(mut self) -> Result<()> {
        match self.0.take() {
            Some(lock) => lock.give().await,
            None => Ok(()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            self.1.detach(async move { drop(lock.give().await) });
        }
    }
}

impl Lock {
    async fn take(&self, limit: Duration) -> Result<()> {
        let link = &self.link;
        let deadline = Instant::now() + limit;
        loop {
            let channel = link.channel(OPERATION, &self.live).await?;
            let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            let declared = channel.queue_declare(self.name.as_str().into(), options, FieldTable::default());
            match link.answer(&self.live, declared).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(cause)) if code(&cause) == Some(RESOURCE_LOCKED) && Instant::now() + AGAIN < deadline => {
                    sleep(AGAIN).await;
                }
                Some(Err(cause)) => return Err(failed(OPERATION, &cause, false, link.address())),
                None => return Err(too_slow(OPERATION, false, link.address())),
            }
        }
    }

    async fn give(&self) -> Result<()> {
        let channel = self.link.channel(OPERATION, &self.live).await?;
        let unlocked = channel.queue_delete(self.name.as_str().into(), QueueDeleteOptions::default());
        self.link.ask(OPERATION, &self.live, unlocked).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windlass_core::Broker;
    use windlass_testing::fixture;
    use windlass_testing::servers::RabbitServer;

    use crate::reading::Reading;
    use crate::{AmqpBroker, AmqpBrokerConfig};

    #[tokio::test]
    async fn who_is_interrupted_gives_up_its_turn() {
        let server = RabbitServer::start();
        let connect = || AmqpBroker::connect(AmqpBrokerConfig::new(server.url()));
        let (one, other) = (connect().await.unwrap(), connect().await.unwrap());
        let queue = fixture::queue();
        let (worker, name) = (Arc::clone(one.shared().unwrap()), queue.clone());
        let interrupted =
            one.shared().unwrap().spawner.start(async move { Reading::of_all(&worker, &name).await.map(drop) });
        interrupted.await.unwrap().unwrap();
        other.dead_letters(&queue, None, 1).await.unwrap();
        one.dead_letters(&queue, None, 1).await.unwrap();
    }
}
