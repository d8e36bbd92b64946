//! A relay before a server that does not count what it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use crate::Result;

/// Forwards connections and counts what clients send; ends when dropped.
pub(crate) struct Relay {
    url: String,
    sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    /// A relay to the server of this URL.
    pub(crate) async fn start(url: &str) -> Result<Self> {
        let mut url = Url::parse(url)?;
        let host = url.host_str().unwrap_or("localhost").to_owned();
        let port = url.port().ok_or("this probe needs the port in the URL")?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(own)).map_err(|()| "the URL can have no port")?;
        let sent = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, (host, port), Arc::clone(&sent)));
        Ok(Self { url: url.into(), sent, task })
    }

    /// The URL of the relay.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How often a client has sent something. What is sent at short intervals may count as one.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: (String, u16), sent: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        // Whatever goes wrong on the way, the client sees a connection that is closed.
        tokio::spawn(forward(client, server.clone(), Arc::clone(&sent)));
    }
}

async fn forward(client: TcpStream, server: (String, u16), sent: Arc<AtomicU64>) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from_client.read(&mut buffer).await? {
            0 => break,
            length => {
                sent.fetch_add(1, Ordering::Relaxed);
                to_server.write_all(&buffer[..length]).await?;
            }
        }
    }
    to_server.shutdown().await?;
    back.await.map_or(Ok(()), |copied| copied.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_clients_send_is_forwarded_and_counted() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("amqp://guest:guest@{}", server.local_addr().unwrap());
        let relay = Relay::start(&url).await.unwrap();
        assert!(relay.url().starts_with("amqp://guest:guest@127.0.0.1:") && relay.url() != url);
        let address = relay.url().rsplit('@').next().unwrap().to_owned();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        let mut byte = [0];
        for _ in 0..2 {
            client.write_all(b"x").await.unwrap();
            served.read_exact(&mut byte).await.unwrap();
            served.write_all(b"y").await.unwrap();
            client.read_exact(&mut byte).await.unwrap();
        }
        assert_eq!((byte, relay.sent()), (*b"y", 2));
    }
}
