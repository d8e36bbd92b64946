use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde::Deserialize;
use windlass_core::message::options::deserialize_duration;
use windlass_core::{Error, ErrorKind, Result, limits};

use crate::SCHEMES;

/// How to reach Redis, and how long things may take.
///
/// ```
/// use std::time::Duration;
/// use windlass_broker_redis::RedisBrokerConfig;
/// let config = RedisBrokerConfig::new("redis://:secret@cache:6379/2").send_timeout(Duration::from_secs(3));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisBrokerConfig {
    /// `redis://[user][:password@]host[:port][/database]`, or `redis+unix:///path` and
    /// `unix:///path` with `?db=`, `?user=` and `?pass=`. Default: `redis://127.0.0.1:6379`.
    pub url: String,
    /// What every key begins with. Applications that share a Redis need different ones.
    /// Default: `windlass`.
    pub prefix: String,
    /// How long `publish` repeats what failed on the way. Default: 10 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub send_timeout: Duration,
    /// How long one request may take before its connection is given up. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub operation_timeout: Duration,
    /// How long one attempt to connect may take. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub connect_timeout: Duration,
    /// How long dead letters are kept. Default: 90 days.
    #[serde(deserialize_with = "deserialize_duration")]
    pub dead_ttl: Duration,
    /// How many dead letters are kept in each queue; the oldest go first. Default: 100,000.
    pub dead_max: u64,
    /// Largest payload in bytes. Default and largest value: 16 MiB.
    pub payload: usize,
}

impl Default for RedisBrokerConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            prefix: "windlass".to_owned(),
            send_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            dead_ttl: Duration::from_secs(90 * 24 * 3600),
            dead_max: 100_000,
            payload: limits::PAYLOAD_BYTES_HARD,
        }
    }
}

impl RedisBrokerConfig {
    /// The defaults, with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets what every key begins with.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long `publish` repeats what failed on the way.
    #[must_use]
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Sets how long one request may take.
    #[must_use]
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Sets how long one attempt to connect may take.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long dead letters are kept.
    #[must_use]
    pub fn dead_ttl(mut self, ttl: Duration) -> Self {
        self.dead_ttl = ttl;
        self
    }

    /// Sets how many dead letters are kept in each queue.
    #[must_use]
    pub fn dead_max(mut self, max: u64) -> Self {
        self.dead_max = max;
        self
    }

    /// Sets the largest payload in bytes.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// Checks everything that can be checked without a server; answers where it is.
    pub(crate) fn check(&self) -> Result<ConnectionInfo> {
        let allowed = "1 to 64 bytes of A-Z a-z 0-9 . _ - :";
        let named = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.bytes().all(named) {
            return Err(wrong("broker.prefix", format_args!("{:?}", self.prefix), allowed));
        }
        let spans = [
            ("broker.send_timeout", self.send_timeout),
            ("broker.operation_timeout", self.operation_timeout),
            ("broker.connect_timeout", self.connect_timeout),
            ("broker.dead_ttl", self.dead_ttl),
        ];
        for (field, span) in spans {
            if span < Duration::from_millis(1) || span > Duration::from_secs(10 * 366 * 24 * 3600) {
                return Err(wrong(field, format_args!("{span:?}"), "1 ms to 10 years"));
            }
        }
        if self.dead_max == 0 || self.dead_max > 1_000_000_000 {
            return Err(wrong("broker.dead_max", self.dead_max, "1 to 1000000000"));
        }
        if self.payload == 0 || self.payload > limits::PAYLOAD_BYTES_HARD {
            let allowed = format!("1 to {}", limits::PAYLOAD_BYTES_HARD);
            return Err(wrong("broker.payload", self.payload, &allowed));
        }
        self.check_url()
    }

    fn check_url(&self) -> Result<ConnectionInfo> {
        let refuse = |allowed: &str| wrong("broker.url", format_args!("{:?}", redact(&self.url)), allowed);
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        if matches!(scheme, "rediss" | "valkeys") {
            return Err(refuse("TLS is not supported by this broker; use redis:// inside a protected network"));
        }
        if !SCHEMES.contains(&scheme) {
            return Err(refuse("redis://[user][:password@]host[:port][/database] or redis+unix:///path"));
        }
        let info = self.url.as_str().into_connection_info();
        let info = info.map_err(|error| refuse(&format!("the URL is not complete: {error}")))?;
        match info.addr() {
            ConnectionAddr::Tcp(host, _) if host.is_empty() => Err(refuse("a URL with a host")),
            _ if info.redis_settings().db() < 0 => Err(refuse("a database number from 0")),
            _ => Ok(info),
        }
    }
}

impl fmt::Debug for RedisBrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBrokerConfig")
            .field("url", &redact(&self.url))
            .field("prefix", &self.prefix)
            .field("send_timeout", &self.send_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("dead_ttl", &self.dead_ttl)
            .field("dead_max", &self.dead_max)
            .field("payload", &self.payload)
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
            RedisBrokerConfig::new(url).check().unwrap();
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_field_value_and_limit() {
        let base = RedisBrokerConfig::default;
        let table = [
            (RedisBrokerConfig::new("http://h"), "broker.url: \"http://h\" is not allowed: redis://"),
            (RedisBrokerConfig::new("localhost:6379"), "broker.url: \"localhost:6379\" is not allowed"),
            (RedisBrokerConfig::new("rediss://u:pw@h"), "broker.url: \"rediss://***@h\" is not allowed: TLS"),
            (RedisBrokerConfig::new("redis://h/x"), "Invalid database number"),
            (RedisBrokerConfig::new("redis://"), "broker.url: \"redis://\" is not allowed"),
            (base().prefix("a b"), "broker.prefix: \"a b\" is not allowed: 1 to 64 bytes"),
            (base().prefix("{x}"), "broker.prefix: \"{x}\" is not allowed"),
            (base().operation_timeout(Duration::ZERO), "broker.operation_timeout: 0ns is not allowed: 1 ms"),
            (base().dead_max(0), "broker.dead_max: 0 is not allowed: 1 to"),
            (base().payload(usize::MAX), "is not allowed: 1 to 16777216"),
        ];
        for (config, expected) in table {
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        for url in [
            "redis://:pw@h",
            "redis://u:pw@h/0",
            "u:pw@h",
            "redis://u:p/w@h",
            "unix:///s?pass=p@w",
            "rediss://x:p@w@h",
            "redis://x:pw?pw@h",
        ] {
            let config = RedisBrokerConfig::new(url);
            let shown = format!("{config:?} {:?}", config.check().err().map(|error| format!("{error:?}")));
            assert!(!shown.contains("pw") && !shown.contains("p@w") && !shown.contains("p/w"), "{shown}");
        }
    }
}
