//! What a Redis server says about itself: its version, its persistence, its work.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, cmd};

use super::Server;
use crate::Result;

/// The beginning of all keys of windlass and of its benches.
const OURS: &[u8] = b"windlass";

/// A connection without a limit on waiting, because blocked reads wait.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let info = url.into_connection_info()?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let client = Client::open(info.set_tcp_settings(tcp))?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// Asks for its version and how it keeps its data.
pub(super) async fn ask(url: &str) -> Result<Server> {
    let connection = &mut connect(url).await?;
    let info: String = cmd("INFO").arg("server").query_async(connection).await?;
    let version = field(&info, "redis_version").unwrap_or("unknown").to_owned();
    Ok(Server { name: "Redis", version, mode: format!("persistence: {}", persistence(connection).await) })
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

/// What Redis servers do between two looks: their commands and their processor time.
pub(crate) struct Meter {
    connections: Vec<MultiplexedConnection>,
    before: Work,
}

/// The work of a server.
#[derive(Default)]
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
    /// Looks for the first time at each of these servers.
    pub(crate) async fn start(urls: &[&str]) -> Result<Self> {
        let mut connections = Vec::new();
        for url in urls {
            connections.push(connect(url).await?);
        }
        let before = Work::of_all(&mut connections).await?;
        Ok(Self { connections, before })
    }

    /// The work since the start; none where there is no Redis.
    pub(crate) async fn stop(mut self) -> Result<Option<Work>> {
        let after = Work::of_all(&mut self.connections).await?;
        let own = OWN_COMMANDS * self.connections.len() as f64;
        let work = Work {
            commands: after.commands - self.before.commands - own,
            requests: after.requests - self.before.requests - own,
            cpu: after.cpu - self.before.cpu,
        };
        Ok((!self.connections.is_empty()).then_some(work))
    }
}

impl Work {
    async fn of_all(connections: &mut [MultiplexedConnection]) -> Result<Self> {
        let mut all = Self::default();
        for connection in connections {
            let one = Self::ask(connection).await?;
            all.commands += one.commands;
            all.requests += one.requests;
            all.cpu += one.cpu;
        }
        Ok(all)
    }

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

/// Empties the database that the URL names, unless it holds keys that are not of windlass.
pub(super) async fn flush(url: &str) -> Result<()> {
    let connection = &mut connect(url).await?;
    if let Some(key) = foreign_key(connection).await? {
        return Err(
            format!("--flush would remove the key {key:?}, which is not of windlass; nothing was removed").into()
        );
    }
    Ok(cmd("FLUSHDB").exec_async(connection).await?)
}

/// A key among all that no windlass made.
async fn foreign_key(connection: &mut MultiplexedConnection) -> Result<Option<String>> {
    let mut cursor = 0_u64;
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("COUNT").arg(10_000);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        if let Some(key) = keys.into_iter().find(|key| !key.starts_with(OURS)) {
            return Ok(Some(String::from_utf8_lossy(&key).into_owned()));
        }
        if next == 0 {
            return Ok(None);
        }
        cursor = next;
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
