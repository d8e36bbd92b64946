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
    /// Whether snapshots are made.
    snapshots: Option<bool>,
    /// When what was appended is written to the disk.
    sync: Option<String>,
    replicas: Option<u64>,
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
        match server.append_only {
            Some(true) => server.sync = setting(connection, "appendfsync").await,
            Some(false) => server.snapshots = setting(connection, "save").await.map(|save| !save.is_empty()),
            None => {}
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
            sync: None,
            // A replica counts its own; what is behind its primary is not told.
            replicas: field("connected_slaves").and_then(|count| count.parse().ok()),
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

    /// Says in the log what is likely to be lost on this server.
    pub(crate) fn warn(&self, address: &str) {
        for risk in self.eviction_risk().into_iter().chain(self.restart_risk()) {
            tracing::warn!(target: "windlass::broker::redis", redis = address, "{risk}");
        }
    }

    /// What could be lost on this server, one sentence each; nothing about what it does not tell.
    pub(crate) fn risks(&self) -> Vec<String> {
        [self.restart_risk(), self.crash_risk(), self.eviction_risk(), self.replica_risk()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn eviction_risk(&self) -> Option<String> {
        let policy = self.eviction.as_deref().filter(|policy| *policy != "noeviction")?;
        Some(format!("maxmemory-policy is {policy}: Redis may remove tasks when memory is short; set it to noeviction"))
    }

    fn restart_risk(&self) -> Option<String> {
        let none = self.append_only == Some(false) && self.snapshots == Some(false);
        none.then(|| "no persistence: a restart of Redis loses all tasks; set appendonly to yes".to_owned())
    }

    fn crash_risk(&self) -> Option<String> {
        if self.append_only == Some(false) && self.snapshots == Some(true) {
            let text = "only snapshots: a crash of Redis loses the tasks since the last one; set appendonly to yes";
            return Some(text.to_owned());
        }
        match self.sync.as_deref()? {
            "everysec" => {
                Some("appendfsync is everysec: a crash of the machine loses up to the last 2 s of tasks".to_owned())
            }
            "no" => Some("appendfsync is no: a crash of the machine loses up to half a minute of tasks".to_owned()),
            _ => None,
        }
    }

    fn replica_risk(&self) -> Option<String> {
        let text = "no replica: if the machine or its disk is lost, so are all tasks";
        (self.replicas == Some(0)).then(|| text.to_owned())
    }
}

/// A setting of the server, if it tells.
async fn setting(connection: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let mut ask = redis::cmd("CONFIG");
    let answer = ask.arg("GET").arg(name).query_async::<Vec<(String, String)>>(connection).await;
    answer.ok()?.into_iter().next().map(|(_, value)| value)
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
        assert_eq!(server.replicas, None);
        assert_eq!(Server::parse("connected_slaves:2\r\n").replicas, Some(2));
    }

    #[test]
    fn what_could_be_lost_is_said_as_far_as_it_is_known() {
        let of = |append_only, snapshots, sync: Option<&str>, eviction: Option<&str>, replicas| {
            let (sync, eviction) = (sync.map(str::to_owned), eviction.map(str::to_owned));
            let server = Server { version: None, append_only, snapshots, sync, eviction, replicas };
            let first = |risk: String| risk.split(':').next().unwrap_or_default().to_owned();
            server.risks().into_iter().map(first).collect::<Vec<_>>()
        };
        assert!(of(None, None, None, None, None).is_empty());
        assert!(of(Some(true), None, Some("always"), Some("noeviction"), Some(1)).is_empty());
        assert_eq!(of(Some(false), Some(false), None, None, Some(0)), ["no persistence", "no replica"]);
        assert_eq!(of(Some(false), Some(true), None, None, None), ["only snapshots"]);
        assert!(of(Some(false), None, None, None, None).is_empty(), "it does not tell about snapshots");
        assert_eq!(of(Some(true), None, Some("everysec"), None, None), ["appendfsync is everysec"]);
        assert_eq!(
            of(Some(true), None, Some("no"), Some("allkeys-lru"), None),
            ["appendfsync is no", "maxmemory-policy is allkeys-lru",]
        );
    }
}
