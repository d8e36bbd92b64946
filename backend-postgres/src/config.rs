//! The settings of the Postgres backend.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use serde::Deserialize;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use windlass_core::message::options::deserialize_duration;
use windlass_core::{Error, ErrorKind, Result};

/// The schemes of URLs that this crate understands.
pub const SCHEMES: [&str; 2] = ["postgres", "postgresql"];

/// Parameters of a URL that the driver knows; it would only warn of others, with their values.
const PARAMETERS: &str = "application_name dbname host hostaddr options password port ssl-ca ssl-cert ssl-key ssl-mode \
    ssl-root-cert sslcert sslkey sslmode sslrootcert statement-cache-capacity user";
/// The longest time that a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of the Postgres backend. Spans of time are texts such as `"5s"`, or seconds.
///
/// ```
/// use windlass_backend_postgres::PostgresBackendConfig;
/// let config = PostgresBackendConfig::new("postgres://app:secret@db.internal/shop").schema("tasks");
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PostgresBackendConfig {
    /// `postgres://[user][:password@]host[:port]/database` with the parameters of libpq.
    /// Default: `postgres://localhost`.
    pub url: String,
    /// The schema that holds the tables, and nothing else. Default: `windlass`.
    pub schema: String,
    /// Whether to bring the tables up to date when connecting; otherwise their version is checked.
    /// Default: yes.
    pub migrate: bool,
    /// Whether a proxy that changes connections after each transaction (PgBouncer in transaction
    /// mode) stands before the server. Those who wait then poll. Default: no.
    pub pooler: bool,
    /// Most connections of this process, from 4. Default: 8.
    pub max_connections: u32,
    /// A call that takes longer is given up. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub operation_timeout: Duration,
    /// An attempt to connect that takes longer is given up. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub connect_timeout: Duration,
    /// Those who wait look this often whether they missed their wake-up. Default: 2 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub poll: Duration,
    /// What has expired is removed this often. Default: 1 min.
    #[serde(deserialize_with = "deserialize_duration")]
    pub cleanup: Duration,
}

impl Default for PostgresBackendConfig {
    fn default() -> Self {
        Self {
            url: "postgres://localhost".to_owned(),
            schema: "windlass".to_owned(),
            migrate: true,
            pooler: false,
            max_connections: 8,
            operation_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            poll: Duration::from_secs(2),
            cleanup: Duration::from_secs(60),
        }
    }
}

impl PostgresBackendConfig {
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

    /// Sets whether a transaction-pooling proxy stands before the server.
    #[must_use]
    pub fn pooler(mut self, on: bool) -> Self {
        self.pooler = on;
        self
    }

    /// Sets how many connections this process opens at most.
    #[must_use]
    pub fn max_connections(mut self, count: u32) -> Self {
        self.max_connections = count;
        self
    }

    /// Sets how long a call may take.
    #[must_use]
    pub fn operation_timeout(mut self, span: Duration) -> Self {
        self.operation_timeout = span;
        self
    }

    /// Sets how long an attempt to connect may take.
    #[must_use]
    pub fn connect_timeout(mut self, span: Duration) -> Self {
        self.connect_timeout = span;
        self
    }

    /// Sets how often those who wait look whether they missed their wake-up.
    #[must_use]
    pub fn poll(mut self, span: Duration) -> Self {
        self.poll = span;
        self
    }

    /// Sets how often what has expired is removed.
    #[must_use]
    pub fn cleanup(mut self, span: Duration) -> Self {
        self.cleanup = span;
        self
    }

    /// Checks everything but the URL.
    pub(crate) fn check(&self) -> Result<()> {
        quoted_schema("backend.schema", &self.schema)?;
        let spans = [
            ("backend.operation_timeout", self.operation_timeout),
            ("backend.connect_timeout", self.connect_timeout),
            ("backend.poll", self.poll),
            ("backend.cleanup", self.cleanup),
        ];
        for (field, span) in spans {
            if span < Duration::from_millis(1) || span > Duration::from_secs(3600) {
                return Err(wrong(field, format_args!("{span:?}"), "1 ms to 1 h"));
            }
        }
        if !(4..=1000).contains(&self.max_connections) {
            return Err(wrong("backend.max_connections", self.max_connections, "4 to 1000"));
        }
        Ok(())
    }

    /// How our own connections are opened.
    pub(crate) fn options(&self) -> Result<PgConnectOptions> {
        let options = parse_url("backend.url", &self.url)?;
        Ok(self.session(options))
    }

    /// Adds what belongs to connections that only we use.
    pub(crate) fn session(&self, options: PgConnectOptions) -> PgConnectOptions {
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("windlass"),
        };
        let options = options.disable_statement_logging();
        if self.pooler {
            // Proxies refuse what they do not know at the start of a session.
            return options.statement_cache_capacity(0).extra_float_digits(None);
        }
        let given = options.get_options().unwrap_or_default().to_owned();
        let millis = |span: Duration| span.as_millis().to_string();
        let ours = [
            ("statement_timeout", millis(self.operation_timeout)),
            ("lock_timeout", millis(self.lock_timeout())),
            ("idle_in_transaction_session_timeout", millis(Duration::from_secs(30))),
            // A plan that was made while the table was small reads all of it for ever.
            ("plan_cache_mode", "force_custom_plan".to_owned()),
        ];
        options.options(ours.into_iter().filter(|(name, _)| !given.contains(name)))
    }

    pub(crate) fn lock_timeout(&self) -> Duration {
        LOCK_TIMEOUT.min(self.operation_timeout / 2).max(Duration::from_millis(1))
    }
}

impl fmt::Debug for PostgresBackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackendConfig")
            .field("url", &redact(&self.url))
            .field("schema", &self.schema)
            .field("migrate", &self.migrate)
            .field("pooler", &self.pooler)
            .field("max_connections", &self.max_connections)
            .field("operation_timeout", &self.operation_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("poll", &self.poll)
            .field("cleanup", &self.cleanup)
            .finish()
    }
}

/// The schema as it stands in statements; its name needs no escapes.
pub(crate) fn quoted_schema(field: &'static str, schema: &str) -> Result<String> {
    let allowed = "1 to 32 of a-z 0-9 _, beginning with a letter; not public or information_schema, not pg_…";
    let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let first = schema.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    let reserved = matches!(schema, "public" | "information_schema") || schema.starts_with("pg_");
    if !first || reserved || schema.len() > 32 || !schema.bytes().all(named) {
        return Err(wrong(field, format_args!("{schema:?}"), allowed));
    }
    Ok(format!("\"{schema}\""))
}

/// How to connect to the place that a URL names.
pub(crate) fn parse_url(field: &'static str, url: &str) -> Result<PgConnectOptions> {
    let refuse = |allowed: &str| wrong(field, format_args!("{:?}", redact(url)), allowed);
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if !SCHEMES.contains(&scheme) {
        return Err(refuse("postgres://[user][:password@]host[:port]/database"));
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    for name in query.split('&').filter_map(|pair| pair.split('=').next()) {
        if !name.is_empty() && !name.starts_with("options[") && !PARAMETERS.split(' ').any(|known| known == name) {
            return Err(refuse(&format!("the parameters of a URL are {PARAMETERS}")));
        }
    }
    PgConnectOptions::from_str(url).map_err(|error| refuse(&format!("a URL of Postgres; {error}")))
}

/// Where the server is, without user and password.
pub(crate) fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(path) => path.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

pub(crate) fn wrong(field: &'static str, value: impl fmt::Display, allowed: &str) -> Error {
    Error::new(ErrorKind::Config, field, format!("{value} is not allowed: {allowed}"))
}

/// The URL without its user, password and query, however malformed it is.
pub(crate) fn redact(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let separator = if scheme.is_empty() { "" } else { "://" };
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A "?" or "@" may be part of a password, on either side of the other.
    if query.contains('@') {
        return format!("{scheme}{separator}***");
    }
    let (user, place) = before.rsplit_once('@').map_or(("", before), |(_, place)| ("***@", place));
    let query = if rest.contains('?') { "?***" } else { "" };
    format!("{scheme}{separator}{user}{place}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &PostgresBackendConfig) -> Result<PgConnectOptions> {
        config.check()?;
        config.options()
    }

    #[test]
    fn a_good_url_is_taken() {
        let urls = [
            "postgres://localhost",
            "postgresql://u:p@h:1/db?sslmode=disable&application_name=x",
            "postgres:///db?host=/run/postgresql",
            "postgres://u:p%40@h/db?options[search_path]=x",
        ];
        for url in urls {
            check(&PostgresBackendConfig::new(url)).unwrap();
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_field_value_and_limit() {
        let base = PostgresBackendConfig::default;
        let table = [
            (PostgresBackendConfig::new("http://h"), "backend.url: \"http://h\" is not allowed: postgres://"),
            (PostgresBackendConfig::new("localhost:5432"), "backend.url: \"localhost:5432\" is not allowed"),
            (PostgresBackendConfig::new("postgres://h:x"), "backend.url: \"postgres://h:x\" is not allowed: a URL"),
            (PostgresBackendConfig::new("postgres://h/d?pasword=pw"), "the parameters of a URL are application_name"),
            (base().schema("A"), "backend.schema: \"A\" is not allowed: 1 to 32 of a-z"),
            (base().schema(""), "backend.schema: \"\" is not allowed"),
            (base().schema("a\"b"), "backend.schema: \"a\\\"b\" is not allowed"),
            (base().schema("public"), "backend.schema: \"public\" is not allowed"),
            (base().schema("pg_own"), "backend.schema: \"pg_own\" is not allowed"),
            (base().operation_timeout(Duration::ZERO), "backend.operation_timeout: 0ns is not allowed: 1 ms"),
            (base().poll(Duration::MAX), "backend.poll: "),
            (base().max_connections(3), "backend.max_connections: 3 is not allowed: 4 to 1000"),
        ];
        for (config, expected) in table {
            let error = check(&config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn settings_are_read() {
        use serde::de::value::{Error, MapDeserializer};
        let read = |settings: [(&'static str, &'static str); 2]| {
            PostgresBackendConfig::deserialize(MapDeserializer::<_, Error>::new(settings.into_iter()))
        };
        let config = read([("url", "postgres://h"), ("poll", "500ms")]).unwrap();
        assert_eq!(config, PostgresBackendConfig::new("postgres://h").poll(Duration::from_millis(500)));
        assert!(
            read([("url", "postgres://h"), ("pool", "1")]).unwrap_err().to_string().contains("unknown field `pool`")
        );
        assert!(read([("url", "postgres://h"), ("poll", "soon")]).unwrap_err().to_string().contains("\"soon\""));
    }

    #[test]
    fn no_secret_is_shown() {
        let urls = [
            "postgres://:pw@h",
            "postgres://u:pw@h/d",
            "u:pw@h",
            "postgres://h/d?password=pw",
            "postgres://h/d?password=x@pw",
            "postgres://u:x?pw@h/d?sslmode=pw",
            "postgres://u:pw@pw@h?nosuch=pw",
        ];
        for url in urls {
            let config = PostgresBackendConfig::new(url);
            let shown = format!("{config:?} {:?}", check(&config).err());
            assert!(!shown.contains("pw"), "{shown}");
        }
    }

    #[test]
    fn a_session_has_limits_of_time_unless_the_url_has_them() {
        let options = PostgresBackendConfig::new("postgres://h/d?options=-c%20lock_timeout%3D7").options().unwrap();
        let given = options.get_options().unwrap();
        assert!(given.contains("lock_timeout=7") && given.contains("statement_timeout=5000"), "{given}");
        assert_eq!(given.matches("lock_timeout").count(), 1, "{given}");
        assert_eq!(options.get_application_name(), Some("windlass"));
        let pooled = PostgresBackendConfig::new("postgres://h/d").pooler(true).options().unwrap();
        assert_eq!(pooled.get_options(), None);
    }
}
