use std::fmt;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use serde::Deserialize;
use windlass_core::message::options::deserialize_duration;
use windlass_core::{Error, ErrorKind, Result, limits};

use crate::SCHEMES;

/// How the server keeps the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum QueueType {
    /// Replicated, and synced to disk before a message counts as accepted.
    #[default]
    Quorum,
    /// On one node; delays and dead letters of the server are moved at most once.
    Classic,
}

impl QueueType {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

/// How to reach RabbitMQ, how queues are declared, and how long things may take.
///
/// ```
/// use windlass_broker_amqp::AmqpBrokerConfig;
/// let config = AmqpBrokerConfig::new("amqp://worker:secret@rabbit:5672/jobs").max_length(Some(1_000_000));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AmqpBrokerConfig {
    /// `amqp://[user[:password]@]host[:port][/vhost]`. Default: `amqp://127.0.0.1:5672`.
    pub url: String,
    /// What the name of every queue and exchange begins with. Applications that share a virtual
    /// host need different ones. Default: `windlass`.
    pub prefix: String,
    /// How the server keeps the queues. Default: quorum.
    pub queue_type: QueueType,
    /// How many messages of one level the server may hand out ahead of their acknowledgement, 1 to
    /// 65535. Default: as many as the worker has and asks for.
    pub prefetch: Option<u16>,
    /// How many messages may wait in one level of a queue; more are refused. Default: no limit.
    pub max_length: Option<u32>,
    /// How often a silent connection is probed; twice of it without a sign is the end. Whole
    /// seconds. Default: 10 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub heartbeat: Duration,
    /// How long `publish` repeats what failed on the way. Default: 10 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub send_timeout: Duration,
    /// How long one request may take before its connection is given up. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub operation_timeout: Duration,
    /// How long one attempt to connect may take. Default: 5 s.
    #[serde(deserialize_with = "deserialize_duration")]
    pub connect_timeout: Duration,
    /// The `consumer_timeout` of the server: a message that a worker has had for longer is handed
    /// out again. Only told, not set. Default: 30 min, as the server's.
    #[serde(deserialize_with = "deserialize_duration")]
    pub consumer_timeout: Duration,
    /// How long dead letters are kept. Default: 90 days.
    #[serde(deserialize_with = "deserialize_duration")]
    pub dead_ttl: Duration,
    /// How many dead letters are kept in each queue; the oldest go first. Default: 100,000.
    pub dead_max: u64,
    /// Largest payload in bytes, at most 16 MiB. Default: 16 MiB less 128 KiB, so that it fits with its
    /// envelope into the 16 MiB that RabbitMQ 4 allows.
    pub payload: usize,
}

impl Default for AmqpBrokerConfig {
    fn default() -> Self {
        Self {
            url: "amqp://127.0.0.1:5672".to_owned(),
            prefix: "windlass".to_owned(),
            queue_type: QueueType::Quorum,
            prefetch: None,
            max_length: None,
            heartbeat: Duration::from_secs(10),
            send_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            consumer_timeout: Duration::from_secs(30 * 60),
            dead_ttl: Duration::from_secs(90 * 24 * 3600),
            dead_max: 100_000,
            payload: limits::PAYLOAD_BYTES_HARD - 128 * 1024,
        }
    }
}

impl AmqpBrokerConfig {
    /// The defaults, with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets what every name begins with.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how the server keeps the queues.
    #[must_use]
    pub fn queue_type(mut self, queue_type: QueueType) -> Self {
        self.queue_type = queue_type;
        self
    }

    /// Sets how many messages are handed out ahead of their acknowledgement.
    #[must_use]
    pub fn prefetch(mut self, prefetch: Option<u16>) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Sets how many messages may wait in one level of a queue.
    #[must_use]
    pub fn max_length(mut self, max_length: Option<u32>) -> Self {
        self.max_length = max_length;
        self
    }

    /// Sets how often a silent connection is probed.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
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

    /// Tells the `consumer_timeout` of the server.
    #[must_use]
    pub fn consumer_timeout(mut self, timeout: Duration) -> Self {
        self.consumer_timeout = timeout;
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
    pub(crate) fn check(&self) -> Result<Place> {
        let named = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.bytes().all(named) {
            let value = format_args!("{:?}", self.prefix).to_string();
            return Err(wrong("broker.prefix", value, "1 to 64 bytes of A-Z a-z 0-9 . _ - :"));
        }
        if self.prefetch == Some(0) {
            return Err(wrong("broker.prefetch", 0, "1 to 65535, or nothing for what the worker asks for"));
        }
        if self.max_length == Some(0) {
            return Err(wrong("broker.max_length", 0, "1 to 4294967295, or nothing for no limit"));
        }
        let heartbeat = self.heartbeat.as_secs();
        if !(1..=3600).contains(&heartbeat) || self.heartbeat.subsec_nanos() != 0 {
            return Err(wrong("broker.heartbeat", format_args!("{:?}", self.heartbeat), "1 to 3600 whole seconds"));
        }
        let spans = [
            ("broker.send_timeout", self.send_timeout),
            ("broker.operation_timeout", self.operation_timeout),
            ("broker.connect_timeout", self.connect_timeout),
            ("broker.consumer_timeout", self.consumer_timeout),
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

    fn check_url(&self) -> Result<Place> {
        let refuse = |allowed: &str| wrong("broker.url", format_args!("{:?}", redact(&self.url)), allowed);
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme == "amqps" {
            return Err(refuse("TLS is not supported yet; use amqp:// inside a protected network"));
        }
        if !SCHEMES.contains(&scheme) {
            return Err(refuse("amqp://[user[:password]@]host[:port][/vhost]"));
        }
        let host = self.url.rsplit('@').next().unwrap_or_default();
        if host.trim_start_matches("amqp://").split(['/', ':', '?']).next().is_none_or(str::is_empty) {
            return Err(refuse("a URL with a host"));
        }
        if self.url.contains('?') {
            return Err(refuse("a URL without a query; settings have keys of their own, a ? in a password is %3F"));
        }
        let uri: AMQPUri = self.url.parse().map_err(|error| refuse(&format!("the URL is not complete: {error}")))?;
        Ok(Place::new(uri, self.heartbeat))
    }
}

impl fmt::Debug for AmqpBrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBrokerConfig")
            .field("url", &redact(&self.url))
            .field("prefix", &self.prefix)
            .field("queue_type", &self.queue_type)
            .field("prefetch", &self.prefetch)
            .field("max_length", &self.max_length)
            .field("heartbeat", &self.heartbeat)
            .field("send_timeout", &self.send_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("consumer_timeout", &self.consumer_timeout)
            .field("dead_ttl", &self.dead_ttl)
            .field("dead_max", &self.dead_max)
            .field("payload", &self.payload)
            .finish()
    }
}

/// Where the server is and who we are there. Shows itself without the password.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) uri: AMQPUri,
    /// `host:port`.
    pub(crate) address: String,
}

impl Place {
    fn new(mut uri: AMQPUri, heartbeat: Duration) -> Self {
        if uri.vhost.is_empty() {
            // `amqp://host/` means the default virtual host to everybody but the letter of the standard.
            uri.vhost = "/".to_owned();
        }
        uri.scheme = AMQPScheme::AMQP;
        uri.query.heartbeat = u16::try_from(heartbeat.as_secs()).ok();
        let address = format!("{}:{}", uri.authority.host, uri.authority.port);
        Self { uri, address }
    }

    pub(crate) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(crate) fn password(&self) -> &str {
        &self.uri.authority.userinfo.password
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("address", &self.address)
            .field("user", &self.user())
            .field("vhost", &self.uri.vhost)
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
    let (user, host) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("***@", host));
    let host = host.split('?').next().unwrap_or_default();
    format!("{scheme}{separator}{user}{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_url_is_taken() {
        let table = [
            ("amqp://localhost", "localhost:5672", "guest", "/"),
            ("amqp://localhost/", "localhost:5672", "guest", "/"),
            ("amqp://u:p%40w@h:1/%2Fjobs", "h:1", "u", "/jobs"),
            ("amqp://u@h/jobs", "h:5672", "u", "jobs"),
        ];
        for (url, address, user, vhost) in table {
            let place = AmqpBrokerConfig::new(url).check().unwrap();
            assert_eq!((place.address.as_str(), place.user(), place.uri.vhost.as_str()), (address, user, vhost));
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_field_value_and_limit() {
        let base = AmqpBrokerConfig::default;
        let table = [
            (AmqpBrokerConfig::new("http://h"), "broker.url: \"http://h\" is not allowed: amqp://"),
            (AmqpBrokerConfig::new("localhost:5672"), "broker.url: \"localhost:5672\" is not allowed"),
            (AmqpBrokerConfig::new("amqps://u:pw@h"), "\"amqps://***@h\" is not allowed: TLS is not supported yet"),
            (AmqpBrokerConfig::new("amqp://"), "broker.url: \"amqp://\" is not allowed: a URL with a host"),
            (AmqpBrokerConfig::new("amqp://u:pw@"), "broker.url: \"amqp://***@\" is not allowed: a URL with a host"),
            (AmqpBrokerConfig::new("amqp://h:x"), "broker.url: \"amqp://h:x\" is not allowed"),
            (AmqpBrokerConfig::new("amqp://h?heartbeat=1"), "a URL without a query"),
            (base().prefix("a b"), "broker.prefix: \"a b\" is not allowed: 1 to 64 bytes"),
            (base().prefetch(Some(0)), "broker.prefetch: 0 is not allowed: 1 to 65535"),
            (base().max_length(Some(0)), "broker.max_length: 0 is not allowed"),
            (base().heartbeat(Duration::from_millis(1500)), "broker.heartbeat: 1.5s is not allowed: 1 to 3600"),
            (base().heartbeat(Duration::ZERO), "broker.heartbeat: 0ns is not allowed"),
            (base().operation_timeout(Duration::ZERO), "broker.operation_timeout: 0ns is not allowed: 1 ms"),
            (base().dead_ttl(Duration::ZERO), "broker.dead_ttl: 0ns is not allowed: 1 ms"),
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
        for url in ["amqp://u:pw@h", "u:pw@h", "amqp://u:p/w@h", "amqps://x:p@w@h", "amqp://x:pw?pw@h"] {
            let config = AmqpBrokerConfig::new(url);
            let shown = format!("{config:?} {:?}", config.check().map_err(|error| format!("{error:?}")));
            assert!(!shown.contains("pw") && !shown.contains("p@w") && !shown.contains("p/w"), "{shown}");
        }
    }
}
