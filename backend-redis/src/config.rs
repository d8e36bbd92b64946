//! The settings of the Redis backend.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};
use serde::Deserialize;
use windlass_core::message::options::deserialize_duration;
use windlass_core::{Error, ErrorKind, Result};

/// Settings of the Redis backend. Spans of time are texts such as `"5s"`, or seconds.
///
/// ```
/// use windlass_backend_redis::RedisBackendConfig;
/// let config = RedisBackendConfig::new("redis://app:secret@cache.internal:6380/2").prefix("billing");
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisBackendConfig {
    /// `redis://[user][:password@]host[:port][/database]`, or `redis+unix:///path` and
    /// `unix:///path` with `?db=`, `?user=` and `?pass=`. Default: `redis://127.0.0.1:6379`.
    pub url: String,
    /// What every key and channel starts with. Default: `windlass`.
    pub prefix: String,
    /// A request that takes longer is given up. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub operation_timeout: Duration,
    /// An attempt to connect that takes longer is given up. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub connect_timeout: Duration,
    /// Those who wait look this often whether they missed their wake-up. Default: 2 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub poll: Duration,
}

impl Default for RedisBackendConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            prefix: "windlass".to_owned(),
            operation_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            poll: Duration::from_secs(2),
        }
    }
}

impl RedisBackendConfig {
    /// The built-in settings with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets what every key and channel starts with.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a request may take.
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

    /// Checks everything that can be checked without a server; answers where it is.
    pub(crate) fn check(&self) -> Result<ConnectionInfo> {
        let allowed = "1 to 64 bytes of A-Z a-z 0-9 . _ - :";
        let named = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.bytes().all(named) {
            return Err(wrong("backend.prefix", format_args!("{:?}", self.prefix), allowed));
        }
        let spans = [
            ("backend.operation_timeout", self.operation_timeout),
            ("backend.connect_timeout", self.connect_timeout),
            ("backend.poll", self.poll),
        ];
        for (field, span) in spans {
            if span < Duration::from_millis(1) || span > Duration::from_secs(3600) {
                return Err(wrong(field, format_args!("{span:?}"), "1 ms to 1 h"));
            }
        }
        self.check_url()
    }

    fn check_url(&self) -> Result<ConnectionInfo> {
        let refuse = |allowed: &str| wrong("backend.url", format_args!("{:?}", redact(&self.url)), allowed);
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        if matches!(scheme, "rediss" | "valkeys") {
            return Err(refuse("TLS is not supported by this backend; use redis:// inside a protected network"));
        }
        let info = self.url.as_str().into_connection_info();
        let info = info.map_err(|error| {
            let allowed = "redis://[user][:password@]host[:port][/database] or redis+unix:///path";
            refuse(&format!("{allowed}; {error}"))
        })?;
        match info.addr() {
            ConnectionAddr::Tcp(host, _) if host.is_empty() => Err(refuse("a URL with a host")),
            _ if info.redis_settings().db() < 0 => Err(refuse("a database number from 0")),
            _ => Ok(info),
        }
    }
}

impl fmt::Debug for RedisBackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackendConfig")
            .field("url", &redact(&self.url))
            .field("prefix", &self.prefix)
            .field("operation_timeout", &self.operation_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("poll", &self.poll)
            .finish()
    }
}

fn wrong(field: &'static str, value: impl fmt::Display, allowed: &str) -> Error {
    Error::new(ErrorKind::Config, field, format!("{value} is not allowed: {allowed}"))
}

/// The URL without its user, password and query, however malformed it is.
fn redact(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let separator = if scheme.is_empty() { "" } else { "://" };
    // Only paths carry the password in the query; elsewhere a "?" may be part of the password.
    let path = if scheme.contains("unix") { rest.split('?').next().unwrap_or_default() } else { rest };
    let (user, host) = path.rsplit_once('@').map_or(("", path), |(_, host)| ("***@", host));
    let host = host.split('?').next().unwrap_or_default();
    let query = if rest.contains('?') { "?***" } else { "" };
    format!("{scheme}{separator}{user}{host}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_url_is_taken() {
        for url in ["redis://localhost", "redis://u:p@h:1/3", "redis+unix:///run/redis.sock?db=1", "unix:///run/r.sock"]
        {
            RedisBackendConfig::new(url).check().unwrap();
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_field_value_and_limit() {
        let base = RedisBackendConfig::default;
        let table = [
            (RedisBackendConfig::new("http://h"), "backend.url: \"http://h\" is not allowed: redis://"),
            (RedisBackendConfig::new("localhost:6379"), "backend.url: \"localhost:6379\" is not allowed"),
            (RedisBackendConfig::new("rediss://u:pw@h"), "backend.url: \"rediss://***@h\" is not allowed: TLS"),
            (RedisBackendConfig::new("redis://h/x"), "Invalid database number"),
            (RedisBackendConfig::new("redis://"), "backend.url: \"redis://\" is not allowed"),
            (base().prefix("a b"), "backend.prefix: \"a b\" is not allowed: 1 to 64 bytes"),
            (base().prefix("{x}"), "backend.prefix: \"{x}\" is not allowed"),
            (base().operation_timeout(Duration::ZERO), "backend.operation_timeout: 0ns is not allowed: 1 ms"),
            (base().poll(Duration::MAX), "backend.poll: "),
        ];
        for (config, expected) in table {
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn settings_are_read() {
        use serde::de::value::{Error, MapDeserializer};
        let read = |settings: [(&'static str, &'static str); 2]| {
            RedisBackendConfig::deserialize(MapDeserializer::<_, Error>::new(settings.into_iter()))
        };
        let config = read([("url", "redis://h"), ("poll", "500ms")]).unwrap();
        assert_eq!(config, RedisBackendConfig::new("redis://h").poll(Duration::from_millis(500)));
        assert!(read([("url", "redis://h"), ("pool", "1s")]).unwrap_err().to_string().contains("unknown field `pool`"));
        assert!(read([("url", "redis://h"), ("poll", "soon")]).unwrap_err().to_string().contains("\"soon\""));
    }

    #[test]
    fn no_secret_is_shown() {
        let urls = [
            "redis://:pw@h",
            "redis://u:pw@h/0",
            "u:pw@h",
            "unix:///s?pass=pw@x",
            "redis://x:pw@pw@h",
            "redis://x:pw?pw@h",
        ];
        for url in urls {
            let config = RedisBackendConfig::new(url);
            let shown = format!("{config:?} {:?}", config.check().err());
            assert!(!shown.contains("pw"), "{shown}");
        }
    }
}
