//! Tasks on RabbitMQ: one durable queue, publisher confirms, one consumer that acknowledges in batches.

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use tokio::time::timeout;

use super::{ANSWER_WITHIN, Batch, TTL};
use crate::Result;
use crate::options::QueueType;
use crate::target::{BODY, namespace};

/// Deliveries on their way while a batch is settled.
const PREFETCH: u16 = 1_000;
/// Written to the disk.
const PERSISTENT: u8 = 2;

/// A queue on a server, empty at first.
pub(super) struct Queue {
    url: String,
    connection: Connection,
    channel: Channel,
    name: ShortString,
    /// Tasks that were sent; the next one's id.
    sent: u64,
}

/// Takes what is delivered.
pub(super) struct Reader {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    batch: usize,
    left: usize,
}

/// Acknowledges.
pub(super) struct Settler(Channel);

impl Queue {
    /// Connects and makes the queue.
    pub(super) async fn new(url: &str, queue_type: QueueType) -> Result<Self> {
        let connection = connect(url).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let name = ShortString::from(format!("{}-floor", namespace()));
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(queue_type.name().into()));
        // What is left behind by a run that was killed.
        arguments.insert("x-expires".into(), AMQPValue::LongInt(i32::try_from(TTL.as_millis())?));
        channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments).await?;
        Ok(Self { url: url.to_owned(), connection, channel, name, sent: 0 })
    }

    pub(super) async fn clear(&mut self) -> Result<()> {
        self.channel.queue_purge(self.name.clone(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    pub(super) async fn remove(self) -> Result<()> {
        self.channel.queue_delete(self.name, QueueDeleteOptions::default()).await?;
        Ok(self.connection.close(200, "".into()).await?)
    }

    /// Sends tasks; `window` of them are on their way before the first must be confirmed.
    pub(super) async fn publish(&mut self, tasks: usize, window: usize) -> Result<()> {
        let mut left = tasks;
        while left > 0 {
            let size = window.min(left);
            // All at once, so that they share writes to the socket.
            let first = self.sent;
            let written = join_all((first..).take(size).map(|number| self.task(number))).await;
            for confirm in written {
                if !confirm?.await?.is_ack() {
                    return Err("RabbitMQ did not confirm a task".into());
                }
            }
            self.sent += size as u64;
            left -= size;
        }
        Ok(())
    }

    async fn task(&self, number: u64) -> lapin::Result<lapin::PublisherConfirm> {
        let id = format!("{number:016x}");
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id.into());
        let options = BasicPublishOptions::default();
        self.channel.basic_publish(ShortString::default(), self.name.clone(), options, BODY, properties).await
    }

    /// A consumer that ends when it has read so many tasks.
    pub(super) async fn consumer(&self, tasks: usize, batch: usize) -> Result<(Reader, Settler)> {
        self.consume(tasks, PREFETCH, batch).await
    }

    /// A consumer of so many tasks, one at a time.
    pub(super) async fn waiting_consumer(&self, tasks: usize) -> Result<(Reader, Settler)> {
        self.consume(tasks, 1, 1).await
    }

    async fn consume(&self, left: usize, prefetch: u16, batch: usize) -> Result<(Reader, Settler)> {
        let connection = connect(&self.url).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (name, tag) = (self.name.clone(), ShortString::from("floor"));
        let consumer = channel.basic_consume(name, tag, BasicConsumeOptions::default(), FieldTable::default()).await?;
        let settler = Settler(channel.clone());
        Ok((Reader { connection, channel, consumer, batch, left }, settler))
    }
}

impl Reader {
    /// The next tasks; none when all have been read.
    pub(super) async fn next(&mut self) -> Result<Batch> {
        let size = self.batch.min(self.left);
        let mut batch = Batch { ids: Vec::with_capacity(size), tag: 0 };
        while batch.ids.len() < size {
            let next = timeout(ANSWER_WITHIN, self.consumer.next());
            let next = next.await.map_err(|_| format!("RabbitMQ delivered nothing for {ANSWER_WITHIN:?}"))?;
            let delivery = next.ok_or("RabbitMQ has cancelled the consumer")??;
            let id = delivery.properties.message_id().as_ref().ok_or("a task without an id")?;
            batch.ids.push(id.as_str().as_bytes().to_vec());
            batch.tag = delivery.delivery_tag;
        }
        self.left -= size;
        Ok(batch)
    }

    pub(super) async fn close(self) -> Result<()> {
        // A consumer that is dropped before is cancelled behind our back, and its answer found unexpected.
        self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await?;
        Ok(self.connection.close(200, "".into()).await?)
    }
}

impl Settler {
    /// Acknowledges everything up to the last task of the batch.
    pub(super) async fn settle(&self, batch: &Batch) -> Result<()> {
        Ok(self.0.basic_ack(batch.tag, BasicAckOptions { multiple: true }).await?)
    }
}

async fn connect(url: &str) -> Result<Connection> {
    Ok(Connection::connect(url, ConnectionProperties::default()).await?)
}
