//! The socket under a connection. The driver ends a connection only together with the server: one
//! that does not answer would go on with its heartbeats, and keep its consumers and what they were given.

use std::io;
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(windows)]
use std::os::windows::io::AsSocket;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::AMQPUriTcpExt;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::time::timeout;

/// A second handle to the socket of a connection, to end it whatever the driver waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Socket(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unconnected,
    Open(TcpStream),
    Dead,
}

impl Socket {
    /// Connects with this as the second handle. A future that is dropped before it is ready ends the
    /// socket, and with it the thread that the driver has started.
    pub(crate) async fn connect(
        &self,
        uri: AMQPUri,
        properties: ConnectionProperties,
        limit: Duration,
    ) -> lapin::Result<Connection> {
        let mut opening = Opening { socket: self.clone(), is_done: false };
        let socket = self.clone();
        let runtime = lapin::runtime::default_runtime()?;
        let opened = Connection::connector(
            uri,
            runtime,
            async move |uri, runtime| {
                let stream = timeout(limit, uri.connect_async(&runtime)).await;
                let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    #[cfg(unix)]
                    let twin = plain.get_ref().as_fd().try_clone_to_owned()?;
                    #[cfg(windows)]
                    let twin = plain.get_ref().as_socket().try_clone_to_owned()?;
                    socket.keep(twin.into())?;
                }
                Ok(stream)
            },
            properties,
        )
        .await;
        opening.is_done = opened.is_ok();
        opened
    }

    fn keep(&self, twin: TcpStream) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Dead = *state {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *state = State::Open(twin);
        Ok(())
    }

    /// The end: the driver reads the end of the stream, and the server takes back what it has given.
    pub(crate) fn kill(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(twin) = std::mem::replace(&mut *state, State::Dead) {
            let _ = twin.shutdown(Shutdown::Both);
        }
    }
}

/// A connection that is being opened.
struct Opening {
    socket: Socket,
    is_done: bool,
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_done {
            self.socket.kill();
        }
    }
}
