use std::time::Duration;

use windlass_core::limits::{self, PAYLOAD_BYTES_HARD};
use windlass_core::message::wire;
use windlass_core::{Error, Message, Result, Schedule};

use super::{Outbox, row};
use crate::error::failed;

/// Most messages of one write.
const ITEMS: usize = 10_000;
/// Most payload bytes of one write: 64 MiB.
const BYTES: usize = 64 * 1024 * 1024;

/// The columns of the rows of one write.
#[derive(Default)]
struct Columns {
    ids: Vec<String>,
    queues: Vec<String>,
    delays: Vec<Option<i64>>,
    dues: Vec<Option<i64>>,
    bodies: Vec<Vec<u8>>,
    limits: Vec<Option<String>>,
}

impl Outbox {
    /// Writes messages, in one statement, as part of the transaction (`&mut *transaction`): if it is
    /// rolled back they never were, if it commits they are sent. At most 10,000 messages and 64 MiB.
    ///
    /// Relays are rung when the transaction commits. A delay counts from now, not from the commit.
    ///
    /// ```no_run
    /// # use windlass_backend_postgres::Outbox;
    /// # async fn order(outbox: &Outbox, pool: &sqlx::PgPool, message: windlass_core::Message) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("INSERT INTO orders DEFAULT VALUES").execute(&mut *transaction).await?;
    /// outbox.write(&mut *transaction, &[message]).await?;
    /// transaction.commit().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// * `Invalid`: a message is too large, or too many; nothing was sent, the transaction is as before.
    /// * Others: the server has refused the statement or cannot be reached; the transaction can only be
    ///   rolled back.
    pub async fn write<'c, E: sqlx::PgExecutor<'c>>(&self, executor: E, messages: &[Message]) -> Result<()> {
        check(messages)?;
        if messages.is_empty() {
            return Ok(());
        }
        let mut columns = Columns::default();
        for message in messages {
            columns.push(message, self.0.config.remember);
        }
        let statements = &self.0.statements;
        let text = if self.0.config.notify { &statements.write } else { &statements.write_silently };
        let Columns { ids, queues, delays, dues, bodies, limits } = columns;
        sqlx::query(text.clone())
            .bind(ids)
            .bind(queues)
            .bind(delays)
            .bind(dues)
            .bind(bodies)
            .bind(limits)
            .persistent(!self.0.config.pooler)
            .execute(executor)
            .await
            .map(drop)
            .map_err(|error| failed("write", error))
    }
}

fn check(messages: &[Message]) -> Result<()> {
    let mut bytes = 0;
    for message in messages {
        let named = |error: Error| error.with_task(message.id.clone());
        limits::check_payload(message.payload.len(), PAYLOAD_BYTES_HARD).map_err(named)?;
        if let Schedule::After(delay) = message.schedule {
            limits::check_delay(delay).map_err(named)?;
        }
        bytes += message.payload.len();
    }
    if messages.len() > ITEMS || bytes > BYTES {
        let value = format_args!("{} messages with {bytes} B", messages.len()).to_string();
        return Err(Error::invalid("write", value, format_args!("at most {ITEMS} messages and {BYTES} B at a time")));
    }
    Ok(())
}

impl Columns {
    fn push(&mut self, message: &Message, remember: Duration) {
        let (delay, due) = match message.schedule {
            Schedule::Now => (None, None),
            Schedule::After(delay) => (Some(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX)), None),
            Schedule::At(at) => (None, Some(at.as_micros())),
        };
        let remember = message.remember.unwrap_or_default().max(remember);
        let message = Message { remember: Some(remember), ..message.clone() };
        self.ids.push(message.id.to_string());
        self.queues.push(message.queue.to_string());
        self.delays.push(delay);
        self.dues.push(due);
        self.bodies.push(wire::encode(&message).into());
        self.limits.push(message.limit.as_ref().map(row::limit_text));
    }
}
