//! What kind of server this is, and what can be lost on it.

use redis::Value;
use redis::aio::MultiplexedConnection;
use windlass_core::{Error, ErrorKind, Result};

const OLDEST: (u32, u32) = (6, 2);

/// What matters of the answer to INFO. Everything is optional: hosted servers hide some of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    version: Option<String>,
    eviction: Option<String>,
    append_only: Option<bool>,
    snapshots: Option<bool>,
}

impl Server {
    /// Asks. A server that refuses to tell is taken as it is.
    pub(crate) async fn read(connection: &mut MultiplexedConnection) -> redis::RedisResult<Self> {
        let answer = match redis::cmd("INFO").query_async::<Value>(connection).await {
            Ok(answer) => answer,
            Err(error) if error.is_io_error() => return Err(error),
            Err(_) => return Ok(Self::default()),
        };
        let mut server = Self::parse(&text(answer));
        if server.append_only == Some(false) {
            let mut ask = redis::cmd("CONFIG");
            let answer = ask.arg("GET").arg("save").query_async::<Vec<(String, String)>>(connection).await;
            server.snapshots = answer.ok().and_then(|found| found.first().map(|(_, save)| !save.is_empty()));
        }
        Ok(server)
    }

    fn parse(info: &str) -> Self {
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        Self {
            version: field("redis_version"),
            eviction: field("maxmemory_policy"),
            append_only: field("aof_enabled").map(|enabled| enabled == "1"),
            snapshots: None,
        }
    }

    /// Refuses a server that lacks commands that the scripts use.
    pub(crate) fn check(&self, address: &str) -> Result<()> {
        let Some(version) = &self.version else { return Ok(()) };
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found >= OLDEST {
            return Ok(());
        }
        let text = format!("Redis {version} is too old: {}.{} or newer is needed", OLDEST.0, OLDEST.1);
        Err(Error::new(ErrorKind::Config, "connect", text).with("redis", address))
    }

    /// Says once, in the log, what can be lost on this server.
    pub(crate) fn warn(&self, address: &str) {
        if let Some(policy) = self.eviction.as_deref().filter(|policy| *policy != "noeviction") {
            tracing::warn!(
                target: "windlass::broker::redis",
                redis = address,
                "maxmemory-policy is {policy}: Redis may remove tasks when memory is short; set it to noeviction"
            );
        }
        if self.append_only == Some(false) && self.snapshots == Some(false) {
            tracing::warn!(
                target: "windlass::broker::redis",
                redis = address,
                "no persistence: a restart of Redis loses all tasks; set appendonly to yes"
            );
        }
    }
}

fn text(answer: Value) -> String {
    match answer {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_by_name() {
        for (version, good) in [("5.0.14", false), ("6.0.9", false), ("6.2.0", true), ("7.0.15", true), ("10.0", true)]
        {
            let server = Server::parse(&format!("# Server\r\nredis_version:{version}\r\n"));
            let checked = server.check("r:1");
            assert_eq!(checked.is_ok(), good, "{version}");
            if let Err(error) = checked {
                let expected = format!("connect: Redis {version} is too old: 6.2 or newer is needed (redis: r:1)");
                assert_eq!(error.to_string(), expected);
            }
        }
        Server::default().check("r:1").unwrap();
    }

    #[test]
    fn info_is_read() {
        let server = Server::parse("redis_version:7.0.15\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n");
        assert_eq!(server.eviction.as_deref(), Some("allkeys-lru"));
        assert_eq!(server.append_only, Some(false));
    }
}
