use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use windlass_core::Result;
use windlass_core::message::options::deserialize_duration;

use crate::config::{PostgresBackendConfig, redact, wrong};

/// Settings of an outbox. Spans of time are texts such as `"5s"`, or seconds.
///
/// ```
/// use windlass_backend_postgres::OutboxConfig;
/// let config = OutboxConfig::new("postgres://app:secret@db.internal/shop").schema("tasks");
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OutboxConfig {
    /// `postgres://[user][:password@]host[:port]/database`, for [`Outbox::connect`](super::Outbox::connect).
    /// It is the database that the application's own transactions are in.
    pub url: String,
    /// The schema that holds the tables. Default: `windlass`.
    pub schema: String,
    /// Whether to bring the tables up to date when connecting; otherwise their version is checked.
    /// Default: yes.
    pub migrate: bool,
    /// A relay looks this often for what nobody has announced. 100 ms to 1 min. Default: 2 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub poll: Duration,
    /// A relay has the rows that it took for this long; if it dies, others take them afterwards.
    /// 1 s to 10 min. Default: 30 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub lease: Duration,
    /// How long the broker remembers the id of a finished task that came out of the outbox, so that it
    /// refuses the same row a second time. At least twice the lease. Default: 1 h.
    #[serde(deserialize_with = "deserialize_duration")]
    pub remember: Duration,
    /// Whether writing rings for the relays when the transaction commits. Default: yes.
    pub notify: bool,
    /// Whether a proxy that changes connections after each transaction (PgBouncer in transaction
    /// mode) stands before the server. Relays then look at intervals only. Default: no.
    pub pooler: bool,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            schema: "windlass".to_owned(),
            migrate: true,
            poll: Duration::from_secs(2),
            lease: Duration::from_secs(30),
            remember: Duration::from_secs(3600),
            notify: true,
            pooler: false,
        }
    }
}

impl OutboxConfig {
    /// The built-in settings with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets the schema that holds the tables.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets whether to bring the tables up to date when connecting.
    #[must_use]
    pub fn migrate(mut self, on: bool) -> Self {
        self.migrate = on;
        self
    }

    /// Sets how often a relay looks for what nobody has announced.
    #[must_use]
    pub fn poll(mut self, span: Duration) -> Self {
        self.poll = span;
        self
    }

    /// Sets how long a relay has the rows that it took.
    #[must_use]
    pub fn lease(mut self, span: Duration) -> Self {
        self.lease = span;
        self
    }

    /// Sets how long the broker remembers the ids of finished tasks.
    #[must_use]
    pub fn remember(mut self, span: Duration) -> Self {
        self.remember = span;
        self
    }

    /// Sets whether writing rings for the relays.
    #[must_use]
    pub fn notify(mut self, on: bool) -> Self {
        self.notify = on;
        self
    }

    /// Sets whether a transaction-pooling proxy stands before the server.
    #[must_use]
    pub fn pooler(mut self, on: bool) -> Self {
        self.pooler = on;
        self
    }

    /// How the connections of relays are set up.
    pub(super) fn session(&self) -> PostgresBackendConfig {
        PostgresBackendConfig::default().schema(&self.schema).pooler(self.pooler)
    }

    /// Checks everything but the URL and the schema.
    pub(super) fn check(&self) -> Result<()> {
        let spans = [
            ("outbox.poll", self.poll, Duration::from_millis(100), Duration::from_secs(60), "100 ms to 1 min"),
            ("outbox.lease", self.lease, Duration::from_secs(1), Duration::from_secs(600), "1 s to 10 min"),
            ("outbox.remember", self.remember, self.lease * 2, Duration::MAX, "at least twice outbox.lease"),
        ];
        for (field, span, least, most, allowed) in spans {
            if span < least || span > most {
                return Err(wrong(field, format_args!("{span:?}"), allowed));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for OutboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxConfig")
            .field("url", &redact(&self.url))
            .field("schema", &self.schema)
            .field("migrate", &self.migrate)
            .field("poll", &self.poll)
            .field("lease", &self.lease)
            .field("remember", &self.remember)
            .field("notify", &self.notify)
            .field("pooler", &self.pooler)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ErrorKind;

    use super::*;

    #[test]
    fn a_bad_span_is_refused_with_field_value_and_limit() {
        let base = OutboxConfig::default;
        let table = [
            (base().poll(Duration::ZERO), "outbox.poll: 0ns is not allowed: 100 ms to 1 min"),
            (base().lease(Duration::from_millis(1)), "outbox.lease: 1ms is not allowed: 1 s to 10 min"),
            (base().remember(Duration::from_secs(59)), "outbox.remember: 59s is not allowed: at least twice"),
        ];
        for (config, expected) in table {
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
        }
        base().check().unwrap();
    }
}
