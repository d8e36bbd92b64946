//! As much of the Redis protocol as tests need, without a driver.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
pub(super) struct Connection(BufReader<TcpStream>);

/// What the server said: a text, or the text of its error.
pub(super) type Answer = Result<String, String>;

impl Connection {
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(super) fn call(&mut self, words: &[&str]) -> io::Result<Answer> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        match kind {
            "+" | ":" => Ok(Ok(rest.to_owned())),
            "-" => Ok(Err(rest.to_owned())),
            "$" => self.bulk(rest),
            "*" => self.array(rest),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {line:?}"))),
        }
    }

    fn bulk(&mut self, length: &str) -> io::Result<Answer> {
        let Ok(length) = length.parse::<usize>() else { return Ok(Ok("(nil)".to_owned())) };
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn array(&mut self, length: &str) -> io::Result<Answer> {
        let Ok(length) = length.parse::<usize>() else { return Ok(Ok("(nil)".to_owned())) };
        let items: Vec<Answer> = (0..length).map(|_| self.answer()).collect::<io::Result<_>>()?;
        Ok(items.into_iter().collect::<Result<Vec<_>, _>>().map(|items| items.join("\n")))
    }
}
