//! The only file that opens connections.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection, PgPool};
use tokio::time::timeout;
use windlass_core::{Error, ErrorKind};

use crate::config::{PostgresBackendConfig, address};
use crate::error::not_connected;

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) config: Arc<PostgresBackendConfig>,
    from: From,
}

#[derive(Clone)]
enum From {
    Url(Box<PgConnectOptions>),
    /// To where the application's pool connects, with its password of the moment.
    Pool(PgPool),
}

impl Opener {
    pub(crate) fn new(config: PostgresBackendConfig) -> windlass_core::Result<Self> {
        let from = From::Url(Box::new(config.options()?));
        Ok(Self { config: Arc::new(config), from })
    }

    pub(crate) fn beside(pool: &PgPool, config: PostgresBackendConfig) -> Self {
        Self { config: Arc::new(config), from: From::Pool(pool.clone()) }
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        match &self.from {
            From::Url(options) => (**options).clone(),
            From::Pool(pool) => self.config.session((*pool.connect_options()).clone()),
        }
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> String {
        address(&self.options())
    }

    pub(crate) async fn open(&self, operation: &'static str) -> Result<PgConnection, Error> {
        let limit = self.config.connect_timeout;
        match timeout(limit, self.options().connect()).await {
            Ok(opened) => opened.map_err(|error| not_connected(operation, error)),
            Err(_) => {
                Err(Error::new(ErrorKind::Unavailable, operation, format!("cannot connect: no answer in {limit:?}")))
            }
        }
    }
}
