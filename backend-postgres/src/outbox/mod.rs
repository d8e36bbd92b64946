#![doc = include_str!("../../OUTBOX.md")]

mod bell;
mod config;
mod log;
mod pause;
mod publish;
mod relay;
mod row;
mod session;
mod statements;
mod stats;
mod stuck;
mod table;
mod write;

use std::fmt;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use windlass_core::{Broker, Result};

pub use config::OutboxConfig;
pub use relay::{Relay, RelayReport};
pub use stats::OutboxStats;
pub use stuck::{StuckPage, StuckRow};

use crate::config::{PostgresBackendConfig, parse_url, quoted_schema};
use crate::migrate;
use crate::opener::Opener;
use session::Session;
use statements::Statements;

/// The target of everything that an outbox logs.
const TARGET: &str = "windlass::outbox";

/// Messages that are written inside transactions of the application, and sent once those have committed.
///
/// Cheap to clone. See the documentation of [this module](self).
#[derive(Debug, Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    session: Session,
    statements: Statements,
    /// What a write rings on.
    channel: String,
    config: OutboxConfig,
}

impl Outbox {
    /// An outbox in the database that the application's pool connects to. Relays open connections of
    /// their own to there.
    ///
    /// Nothing is sent yet; see [`Outbox::ready`].
    ///
    /// # Errors
    /// `Config` for a setting that is not allowed.
    pub fn from_pool(pool: sqlx::PgPool, config: OutboxConfig) -> Result<Self> {
        let opener = Opener::beside(&pool, config.session());
        Self::new(opener, Some(pool), config)
    }

    /// Connects by [`OutboxConfig::url`], and sees to the tables as [`Outbox::ready`] does.
    ///
    /// # Errors
    /// `Config` for a setting that is not allowed, `Unavailable` if Postgres cannot be reached.
    pub async fn connect(config: OutboxConfig) -> Result<Self> {
        parse_url("outbox.url", &config.url)?;
        let opener = Opener::new(PostgresBackendConfig { url: config.url.clone(), ..config.session() })?;
        let outbox = Self::new(opener, None, config)?;
        outbox.ready().await?;
        Ok(outbox)
    }

    fn new(opener: Opener, pool: Option<sqlx::PgPool>, config: OutboxConfig) -> Result<Self> {
        config.check()?;
        let schema = quoted_schema("outbox.schema", &config.schema)?;
        let channel = format!("{}_outbox", config.schema);
        let statements = Statements::new(&schema, &channel);
        Ok(Self(Arc::new(Shared { session: Session::new(opener, pool), statements, channel, config })))
    }

    /// Makes the tables if they are not there or old; without [`OutboxConfig::migrate`], only checks
    /// their version.
    ///
    /// # Errors
    /// `Config` if the tables are of another version, `Denied` without the right to make them,
    /// `Unavailable` if Postgres cannot be reached.
    pub async fn ready(&self) -> Result<()> {
        let Shared { session, config, .. } = &*self.0;
        let mut connection = session.opener.open("connect").await?;
        match config.migrate {
            true => migrate::migrate_over(connection, &config.schema).await,
            false => migrate::check(&mut connection, &config.schema).await,
        }
    }

    /// A relay to this broker. Run at least one somewhere; each can run beside any others.
    pub fn relay(&self, broker: Arc<dyn Broker>) -> Relay {
        Relay::new(Arc::clone(&self.0), broker)
    }

    /// The settings.
    pub fn config(&self) -> &OutboxConfig {
        &self.0.config
    }

    /// Ends the relays and closes their connections; the application's pool stays as it is.
    pub fn close(&self) {
        self.0.session.close();
    }
}

impl Shared {
    fn lease_us(&self) -> i64 {
        i64::try_from(self.config.lease.as_micros()).unwrap_or(i64::MAX)
    }

    /// How to connect a listener, if there can be one.
    fn listen_options(&self) -> Option<PgConnectOptions> {
        (!self.config.pooler).then(|| self.session.opener.options())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.session.opener.address();
        f.debug_struct("Outbox").field("address", &address).field("config", &self.config).finish_non_exhaustive()
    }
}
