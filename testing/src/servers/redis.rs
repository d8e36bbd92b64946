use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::free_port;
use super::process::Process;
use super::resp::{Answer, Connection};

/// Longest wait for a server that was just started, with a large append-only file to read.
const START: Duration = Duration::from_secs(30);
/// Ports that are tried before giving up.
const PORTS: usize = 20;
const MISSING: &str =
    "redis-server not found: run `cargo xtask test`, which installs it, or `apt-get install redis-server`";

/// A private `redis-server`.
///
/// Every method blocks the calling thread for as long as it takes, usually a few milliseconds.
///
/// ```
/// use windlass_testing::servers::RedisServer;
/// let mut server = RedisServer::start();
/// assert_eq!(server.command(&["SET", "key", "value"]), "OK");
/// server.kill();
/// server.restart();
/// assert_eq!(server.command(&["GET", "key"]), "(nil)", "nothing was persisted");
/// ```
#[derive(Debug)]
pub struct RedisServer {
    builder: RedisServerBuilder,
    port: u16,
    process: Process,
    // Dropped last, after the server that writes into it.
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server that persists nothing.
    ///
    /// # Panics
    /// If there is no `redis-server`, or it does not start.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with settings.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// The URL to connect to, with the password if there is one.
    pub fn url(&self) -> String {
        match &self.builder.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// The port, which stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, which changes with a restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The folder that holds its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        log(self.folder.path())
    }

    /// SIGKILL, and waits until it is gone; connections are reset.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it if it runs, and starts it again with the same port and folder.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.process.kill();
        let deadline = Instant::now() + START;
        // The port can be in use for a moment by a connection that somebody makes to it.
        self.process = loop {
            match self.builder.launch(self.port, self.folder.path()) {
                Ok(process) => break process,
                Err(error) if Instant::now() > deadline => panic!("redis-server did not start again: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
    }

    /// SIGSTOP: connections stay open and new ones are accepted by the kernel, but nothing answers.
    pub fn stop(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT: goes on after [`RedisServer::stop`].
    pub fn cont(&self) {
        self.process.signal("CONT");
    }

    /// Sends one command over a connection of its own; answers as text, `(nil)` for nothing, the
    /// items of an array on lines of their own.
    ///
    /// # Panics
    /// If the server answers with an error or not at all.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// As [`RedisServer::command`], with the server's error as `Err`.
    ///
    /// # Errors
    /// The text of the server's error.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn try_command(&self, words: &[&str]) -> Result<String, String> {
        self.builder.call(self.port, words).unwrap_or_else(|error| panic!("{words:?}: no answer: {error}"))
    }
}

/// Settings of a [`RedisServer`].
#[derive(Debug, Clone, Default)]
pub struct RedisServerBuilder {
    append_only: bool,
    password: Option<String>,
    args: Vec<String>,
}

impl RedisServerBuilder {
    /// Keeps data over restarts: an append-only file, synced after every write.
    #[must_use]
    pub fn append_only(mut self, on: bool) -> Self {
        self.append_only = on;
        self
    }

    /// Demands this password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds an argument of the command line; each word is one call.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If there is no `redis-server`, or it does not start.
    pub fn start(self) -> RedisServer {
        let folder = tempfile::Builder::new().prefix("windlass-redis-").tempdir().expect("a temporary folder");
        let mut last = None;
        for _ in 0..PORTS {
            let port = free_port();
            match self.launch(port, folder.path()) {
                Ok(process) => return RedisServer { builder: self, port, process, folder },
                Err(error) => last = Some(error),
            }
        }
        panic!("redis-server did not start on any of {PORTS} ports: {last:?}\n{}", log(folder.path()));
    }

    fn launch(&self, port: u16, folder: &Path) -> io::Result<Process> {
        let mut process = match Process::spawn(&mut self.command_line(port, folder), folder) {
            Ok(process) => process,
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!("{MISSING}"),
            Err(error) => return Err(error),
        };
        let deadline = Instant::now() + START;
        while !self.answers(port, process.pid()) {
            if !process.is_running() {
                return Err(io::Error::other("it ended at once"));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("it does not answer PING"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(process)
    }

    fn command_line(&self, port: u16, folder: &Path) -> Command {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"]);
        command.arg("--dir").arg(folder).arg("--logfile").arg(folder.join("redis.log"));
        if self.append_only {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        command.args(&self.args);
        command
    }

    /// Whether the server on `port` answers PING and is ours and not somebody else's.
    fn answers(&self, port: u16, pid: u32) -> bool {
        let pong = matches!(self.call(port, &["PING"]), Ok(Ok(answer)) if answer == "PONG");
        let ours = format!("process_id:{pid}\r\n");
        pong && matches!(self.call(port, &["INFO", "server"]), Ok(Ok(info)) if info.contains(&ours))
    }

    fn call(&self, port: u16, words: &[&str]) -> io::Result<Answer> {
        let mut connection = Connection::open(port)?;
        if let Some(password) = &self.password
            && let Err(refused) = connection.call(&["AUTH", password])?
        {
            return Ok(Err(refused));
        }
        connection.call(words)
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("redis.log")).unwrap_or_default()
}
