//! What the Redis server says about itself: its version, its persistence, its work.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, cmd};
use serde::Serialize;

use crate::Result;

/// Whether a URL names a Redis server.
pub(crate) fn is_redis(url: &str) -> bool {
    url.starts_with("redis://")
}

/// The start of all names that this run uses, so that runs do not meet.
pub(crate) fn namespace() -> String {
    format!("windlass-bench-{}", std::process::id())
}

/// A connection without a limit on waiting, because blocked reads wait.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let info = url.into_connection_info()?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let client = Client::open(info.set_tcp_settings(tcp))?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// What figures of the server have to be read with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Server {
    /// The version that it reports.
    pub(crate) version: String,
    /// How it keeps its data.
    pub(crate) persistence: String,
}

impl Server {
    /// Asks the server.
    pub(crate) async fn ask(url: &str) -> Result<Self> {
        let connection = &mut connect(url).await?;
        let info: String = cmd("INFO").arg("server").query_async(connection).await?;
        let version = field(&info, "redis_version").unwrap_or("unknown").to_owned();
        Ok(Self { version, persistence: persistence(connection).await })
    }
}

/// Managed servers forbid CONFIG; their mode stays unknown.
async fn persistence(connection: &mut MultiplexedConnection) -> String {
    let setting = async |connection: &mut MultiplexedConnection, name: &str| -> Option<String> {
        let answer = cmd("CONFIG").arg("GET").arg(name).query_async::<Vec<String>>(connection).await;
        answer.ok()?.into_iter().nth(1)
    };
    let (Some(aof), Some(save)) = (setting(connection, "appendonly").await, setting(connection, "save").await) else {
        return "unknown".to_owned();
    };
    let fsync = setting(connection, "appendfsync").await.unwrap_or_default();
    match (aof == "yes", save.is_empty()) {
        (true, true) => format!("AOF {fsync}"),
        (true, false) => format!("AOF {fsync} and RDB {save}"),
        (false, false) => format!("RDB {save}"),
        (false, true) => "none".to_owned(),
    }
}

/// What a server does between two looks: its commands and its processor time.
pub(crate) struct Meter(Option<(MultiplexedConnection, Work)>);

/// The work of a server.
pub(crate) struct Work {
    /// Commands, those inside of scripts included.
    pub(crate) commands: f64,
    /// Reads from clients: one a request, or a few pipelined ones. Since Redis 7.
    pub(crate) requests: f64,
    /// Seconds of processor time.
    pub(crate) cpu: f64,
}

/// INFO twice at the first look is over before it is counted, INFO twice at the second is not.
const OWN_COMMANDS: f64 = 2.0;

impl Meter {
    /// Looks for the first time; there is nothing to see unless the URL names a Redis server.
    pub(crate) async fn start(url: &str) -> Result<Self> {
        if !is_redis(url) {
            return Ok(Self(None));
        }
        let mut connection = connect(url).await?;
        let work = Work::ask(&mut connection).await?;
        Ok(Self(Some((connection, work))))
    }

    /// The work since the start.
    pub(crate) async fn stop(self) -> Result<Option<Work>> {
        let Some((mut connection, before)) = self.0 else {
            return Ok(None);
        };
        let after = Work::ask(&mut connection).await?;
        Ok(Some(Work {
            commands: after.commands - before.commands - OWN_COMMANDS,
            requests: after.requests - before.requests - OWN_COMMANDS,
            cpu: after.cpu - before.cpu,
        }))
    }
}

impl Work {
    async fn ask(connection: &mut MultiplexedConnection) -> Result<Self> {
        let cpu: String = cmd("INFO").arg("cpu").query_async(connection).await?;
        let stats: String = cmd("INFO").arg("stats").query_async(connection).await?;
        Ok(Self {
            commands: number(&stats, "total_commands_processed")?,
            requests: number(&stats, "total_reads_processed").unwrap_or(f64::NAN),
            cpu: number(&cpu, "used_cpu_user")? + number(&cpu, "used_cpu_sys")?,
        })
    }
}

/// The bytes that the server uses for data.
pub(crate) async fn used_memory(connection: &mut MultiplexedConnection) -> Result<f64> {
    let info: String = cmd("INFO").arg("memory").query_async(connection).await?;
    number(&info, "used_memory")
}

fn number(info: &str, name: &str) -> Result<f64> {
    let text = field(info, name).ok_or_else(|| format!("the server does not report `{name}`"))?;
    Ok(text.parse().map_err(|_| format!("`{name}` is no number: {text}"))?)
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Memory\r\nused_memory:1024\r\nused_memory_human:1K\r\n";

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        assert_eq!(number(INFO, "used_memory").unwrap(), 1024.0);
        assert!(number(INFO, "used").is_err());
        assert!(number(INFO, "used_memory_human").is_err());
    }
}
