//! Transactional enqueue: tasks that are sent if, and only if, a transaction of the application commits.

use sqlx::{PgExecutor, PgPool};
use windlass_backend_postgres::{Outbox, OutboxConfig};
use windlass_core::{Call, Error, ErrorKind, Message, Result};
use windlass_runtime::{TaskHandle, WorkerBuilder};

use crate::config::AdapterConfig;
use crate::{Builder, Windlass};

impl Windlass {
    /// Enqueues a task as part of a transaction of the application (`&mut *transaction`, on the
    /// database of the outbox): if it is rolled back, the task never was; if it commits, the task is
    /// sent, even if this process dies at once.
    ///
    /// A relay sends it within milliseconds of the commit; every worker of an application with an
    /// outbox runs one. A delay counts from this call. Wait for the result after the commit, not before.
    ///
    /// ```no_run
    /// use windlass::Windlass;
    ///
    /// #[windlass::task]
    /// async fn welcome(user: i64) {}
    ///
    /// # async fn sign_up(app: &Windlass, pool: &sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut transaction = pool.begin().await?;
    /// let user: i64 = sqlx::query_scalar("INSERT INTO users DEFAULT VALUES RETURNING id").fetch_one(&mut *transaction).await?;
    /// let handle = app.enqueue_in(&mut *transaction, welcome::call(user)).await?;
    /// transaction.commit().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// * `Invalid`, `Codec`: the call is wrong; the transaction is as before.
    /// * `Config`: this application has no outbox; see [`Builder::outbox_pool`].
    /// * Others: Postgres has refused the statement; the transaction can only be rolled back.
    pub async fn enqueue_in<'c, O, E: PgExecutor<'c>>(&self, executor: E, call: Call<O>) -> Result<TaskHandle<O>> {
        let (message, handle) = self.client().prepare(call)?;
        self.write(executor, &[message]).await?;
        Ok(handle)
    }

    /// As [`Windlass::enqueue_in`] for many tasks, in one statement; one wrong call refuses them all.
    ///
    /// # Errors
    /// As [`Windlass::enqueue_in`], and `Invalid` for more than 10,000 tasks or 64 MiB.
    pub async fn enqueue_many_in<'c, O, E: PgExecutor<'c>>(
        &self,
        executor: E,
        calls: impl IntoIterator<Item = Call<O>>,
    ) -> Result<Vec<TaskHandle<O>>> {
        let prepared: Result<Vec<_>> = calls.into_iter().map(|call| self.client().prepare(call)).collect();
        let (messages, handles): (Vec<Message>, Vec<_>) = prepared?.into_iter().unzip();
        self.write(executor, &messages).await?;
        Ok(handles)
    }

    async fn write<'c, E: PgExecutor<'c>>(&self, executor: E, messages: &[Message]) -> Result<()> {
        let Some(outbox) = self.outbox() else {
            let text =
                "no outbox is configured: set outbox.url in windlass.toml, or give .outbox_pool(pool) to the builder";
            return Err(Error::new(ErrorKind::Config, "outbox", text));
        };
        outbox.write(executor, messages).await
    }

    /// The outbox, to look after what waits in it and what the broker has refused.
    pub fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }

    /// A worker that also relays what the outbox holds.
    pub(crate) fn with_relay(&self, worker: WorkerBuilder) -> WorkerBuilder {
        let Some(outbox) = &self.outbox else { return worker };
        let relay = outbox.relay(std::sync::Arc::clone(self.client().broker()));
        worker.beside(|stop| async {
            relay.run(stop).await;
        })
    }
}

impl Builder {
    /// The application's own database holds the outbox of [`Windlass::enqueue_in`]; other settings of
    /// it are those of the section `outbox`. Its tables are made or checked when connecting.
    pub fn outbox_pool(mut self, pool: PgPool) -> Self {
        self.outbox_pool = Some(pool);
        self
    }
}

/// The outbox of the application, if it wants one, with its tables.
pub(crate) async fn open(config: Option<&AdapterConfig>, pool: Option<PgPool>) -> Result<Option<Outbox>> {
    let settings = config.map(|config| config.settings::<OutboxConfig>("outbox")).transpose()?;
    match (settings, pool) {
        (None, None) => Ok(None),
        (settings, Some(pool)) => {
            let outbox = Outbox::from_pool(pool, settings.unwrap_or_default())?;
            outbox.ready().await?;
            Ok(Some(outbox))
        }
        (Some(settings), None) => Outbox::connect(settings).await.map(Some),
    }
}
