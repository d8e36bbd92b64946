//! Levels that cannot be consumed, while the others can.
//!
//! To consume a quorum queue that has no leader blocks the channel for about a minute, then the server
//! closes the whole connection. That can last: a RabbitMQ node that is killed within seconds of the
//! declaration of a quorum queue can come back without a leader for it, and then it has none until
//! somebody deletes it. So such a level is left out, and looked at again over a connection of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::sleep;
use windlass_core::Result;

use crate::level::Slot;
use crate::session::Session;

/// The pause before a level is looked at again, twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl Session {
    /// Goes on without a level.
    pub(crate) fn leave_out(self: &Arc<Self>, slot: Slot) {
        if std::mem::replace(&mut self.lock().absent[slot.index()], true) {
            return;
        }
        tracing::error!(target: "windlass::broker::amqp", queue = self.queue.as_str(),
            "the AMQP queue {} cannot be consumed (has it a leader?); what is in it waits, the other \
             levels go on", self.parts.topology.names.slot(&self.queue, slot));
        self.parts.spawner.detach(Arc::clone(self).returning(slot));
    }

    /// As a type with a name: it begins to consume, which can leave out.
    fn returning(self: Arc<Self>, slot: Slot) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.until_back(slot))
    }

    async fn until_back(self: Arc<Self>, slot: Slot) {
        let mut pause = FIRST;
        loop {
            sleep(pause).await;
            match self.try_to_consume(slot).await {
                Ok(()) => break,
                Err(error) => tracing::debug!(target: "windlass::broker::amqp", "still not consumed: {error}"),
            }
            pause = (2 * pause).min(LONGEST);
        }
        self.lock().absent[slot.index()] = false;
        tracing::info!(target: "windlass::broker::amqp", queue = self.queue.as_str(),
            "the AMQP queue {} can be consumed again", self.parts.topology.names.slot(&self.queue, slot));
        let _ = self.ensure(1).await;
        self.arrived.notify_waiters();
    }

    /// The answer to `basic.consume` comes only from a queue with a leader. A message that comes with it
    /// goes back with the end of the connection.
    async fn try_to_consume(&self, slot: Slot) -> Result<()> {
        let link = self.parts.consume.beside("probe");
        let tried = async {
            let live = link.live().await?;
            let channel = link.channel("fetch", &live).await?;
            link.ask("fetch", &live, channel.basic_qos(1, BasicQosOptions::default())).await?;
            let name = self.parts.topology.names.slot(&self.queue, slot);
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let consumed = channel.basic_consume(name.into(), "windlass-probe".into(), options, arguments);
            link.ask("fetch", &live, consumed).await.map(drop)
        }
        .await;
        link.close().await;
        tried
    }
}
