//! A private Redis server for the examples.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::process::Process;
use crate::servers;

/// A server on a free port, in memory only, gone when dropped.
pub(crate) struct Redis {
    address: SocketAddr,
    _process: Process,
}

impl Redis {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Result<Self, String> {
        let program = servers::path_of("redis-server")?;
        let mut reason = String::new();
        // A port that was free can be taken before the server binds it.
        for _ in 0..5 {
            match Self::start_once(&program) {
                Ok(server) => return Ok(server),
                Err(text) => reason = text,
            }
        }
        Err(reason)
    }

    fn start_once(program: &PathBuf) -> Result<Self, String> {
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let port = address.port().to_string();
        let mut command = Command::new(program);
        command.args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--loglevel",
            "warning",
        ]);
        let mut process = Process::start("redis", &mut command)?;
        let end = Instant::now() + Duration::from_secs(20);
        while !answers(address) {
            if let Some(status) = process.ended()? {
                return Err(format!("redis-server ended with {status}"));
            }
            if Instant::now() >= end {
                return Err("redis-server did not answer within 20 s".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { address, _process: process })
    }

    /// Its address as applications name it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn answers(address: SocketAddr) -> bool {
    let ping = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        Ok(answer == *b"+PONG\r\n")
    };
    ping().unwrap_or(false)
}
