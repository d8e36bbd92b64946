//! What a RabbitMQ server says about itself: its greeting, which every client is sent before it logs in.

use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::Server;
use crate::Result;
use crate::options::QueueType;
use crate::target::{namespace, used_queues};

const LIMIT: Duration = Duration::from_secs(5);
const PORT: u16 = 5672;
/// The version of the protocol that the client wishes for.
const HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// Type, channel and length of a frame.
const FRAME: usize = 7;

/// Asks for its version; how it keeps messages depends on the type of the queues.
pub(super) async fn ask(url: &str, queues: QueueType) -> Result<Server> {
    let url = Url::parse(url).map_err(|error| format!("--broker: {error}"))?;
    let address = (url.host_str().unwrap_or("localhost").to_owned(), url.port().unwrap_or(PORT));
    let greeting = timeout(LIMIT, greeting(address)).await.map_err(|_| "RabbitMQ does not greet")??;
    let version = text_of(&greeting, "version").unwrap_or_else(|| "unknown".to_owned());
    Ok(Server { name: "RabbitMQ", version, mode: format!("durable {} queues", queues.name()) })
}

/// What windlass makes for each queue, and for all queues of a prefix.
const PARTS: [&str; 6] = ["low", "normal", "high", "critical", "front", "dead"];
const EXCHANGE: &str = "due";

/// Deletes the queues that windlass has made in this run; what is not there is no error.
pub(super) async fn remove(url: &str) -> Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let prefix = namespace();
    for queue in used_queues() {
        for part in PARTS {
            let name = format!("{prefix}.{queue}.{part}");
            channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
        }
    }
    let exchange = format!("{prefix}.{EXCHANGE}");
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    Ok(connection.close(200, "".into()).await?)
}

/// The first frame: `connection.start`.
async fn greeting(address: (String, u16)) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(HEADER).await?;
    let mut head = [0; FRAME];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let mut frame = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

/// The value of a text in the table of properties: length and name, the letter S, length and text.
fn text_of(frame: &[u8], name: &str) -> Option<String> {
    let mut key = vec![u8::try_from(name.len()).ok()?];
    key.extend_from_slice(name.as_bytes());
    key.push(b'S');
    let at = frame.windows(key.len()).position(|window| window == key)? + key.len();
    let length = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?);
    let text = frame.get(at + 4..at + 4 + usize::try_from(length).ok()?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_by_its_whole_name() {
        let frame = b"\0\x0cfull_versionS\0\0\0\x01x\x07versionS\0\0\0\x063.10.8\x08platformS\0\0\0\x01y";
        assert_eq!(text_of(frame, "version").as_deref(), Some("3.10.8"));
        assert_eq!(text_of(frame, "product"), None);
        assert_eq!(text_of(b"\x07versionS\0\0\0\x09cut", "version"), None);
    }
}
