//! A proxy that gives each transaction to another connection, as PgBouncer may in transaction mode.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use windlass_backend_postgres::PostgresBackend;
use windlass_core::{Backend, ErrorKind, State};

use crate::support::{Database, at, config, connect, id, load, record, start_wait, succeeded, told};

/// Connections to the server for each client; each transaction takes the next one.
const CONNECTIONS: usize = 3;

/// Starts the proxy; it ends with the runtime.
pub(crate) async fn start(server: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // An error is the end of a connection on one side, which ends the other side too.
            tokio::spawn(async move { drop(serve(client, server).await) });
        }
    });
    address
}

async fn serve(mut client: TcpStream, port: u16) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let hello = startup(&mut client).await?;
    let mut servers = Vec::new();
    for number in 0..CONNECTIONS {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
        server.set_nodelay(true)?;
        server.write_all(&hello).await?;
        let (greeting, _) = answer(&mut server).await?;
        if number == 0 {
            client.write_all(&greeting).await?;
        }
        servers.push(server);
    }
    let mut turn = 0;
    loop {
        let request = message(&mut client).await?;
        let server = &mut servers[turn];
        server.write_all(&request).await?;
        // A simple query, or the end of a step of the extended protocol.
        if matches!(request[0], b'Q' | b'S') {
            let (answer, idle) = answer(server).await?;
            client.write_all(&answer).await?;
            if idle {
                turn = (turn + 1) % CONNECTIONS;
            }
        }
    }
}

/// The first message of a client, which has no type.
async fn startup(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = client.read_u32().await?;
    let mut hello = length.to_be_bytes().to_vec();
    hello.resize(length as usize, 0);
    client.read_exact(&mut hello[4..]).await?;
    Ok(hello)
}

async fn message(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await?;
    let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize;
    message.resize(length + 1, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// All messages until the server is ready, and whether no transaction is open then.
async fn answer(server: &mut TcpStream) -> std::io::Result<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    loop {
        let message = message(server).await?;
        all.extend_from_slice(&message);
        if message[0] == b'Z' {
            return Ok((all, message[5] == b'I'));
        }
    }
}

#[tokio::test]
async fn fault_98_every_call_works_behind_a_transaction_pooling_proxy() {
    let server = Database::new();
    let proxy = start(server.port()).await;
    let url = server.at((proxy.ip(), proxy.port()));
    let backend = connect(at(url, config(&server)).pooler(true).cleanup(Duration::from_millis(20))).await;
    let wait = start_wait(&backend, "7");
    for number in 0..20 {
        backend.save(&[record(number, State::Running, 1)]).await.unwrap();
        backend.save(&[succeeded(number)]).await.unwrap();
        assert_eq!(load(&backend, number).await.unwrap().state, State::Succeeded);
    }
    told(wait).await;
    backend.forget(&[id("7")]).await.unwrap();
    assert!(load(&backend, "7").await.is_none());
    let left = "SELECT count(*) FROM pg_stat_activity
        WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    crate::support::until(|| server.sql(left) == "0").await;
}

#[tokio::test]
async fn fault_98_without_the_setting_the_text_names_it() {
    let server = Database::new();
    let proxy = start(server.port()).await;
    let url = server.at((proxy.ip(), proxy.port()));
    let backend = PostgresBackend::connect(at(url, config(&server))).await.unwrap();
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("set backend.pooler = true"), "{error}");
}
