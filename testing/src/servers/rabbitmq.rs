use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::free_port;
use super::process::Process;

/// Longest wait for a server that was just started, on a machine with much else to do.
const START: Duration = Duration::from_secs(90);
/// How often it is started on other ports before giving up.
const TRIES: usize = 5;
const MISSING: &str =
    "rabbitmq-server not found: run `cargo xtask test`, which installs it, or `apt-get install rabbitmq-server`";
/// Where its own scripts lie. Those of Debian in `/usr/sbin` change to a system user first, so they come last.
const FOLDERS: &[&str] =
    &["/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin", "/opt/rabbitmq/sbin", "/usr/sbin"];
/// What a server answers to this begins a connection; anything else is not RabbitMQ.
const PROTOCOL: &[u8] = b"AMQP\0\0\x09\x01";

/// A private RabbitMQ node, with the Erlang port mapper that it needs, both on 127.0.0.1 only.
///
/// It runs as the user who starts it, keeps everything in its folder and knows no plugin. Every method
/// blocks the calling thread for as long as it takes: a start about 3 s, [`RabbitServer::ctl`] about 1 s.
///
/// ```
/// use windlass_testing::servers::RabbitServer;
/// let server = RabbitServer::start();
/// assert!(server.url().starts_with("amqp://guest:guest@127.0.0.1:"));
/// assert_eq!(server.ctl(&["list_queues", "name"]), "");
/// ```
#[derive(Debug)]
pub struct RabbitServer {
    builder: RabbitServerBuilder,
    node: Node,
    process: Process,
    mapper: Process,
    // Dropped last, after the server that writes into it.
    folder: TempDir,
}

impl RabbitServer {
    /// Starts a server with the user `guest` and the password `guest`.
    ///
    /// # Panics
    /// If there is no `rabbitmq-server`, or it does not start.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with settings.
    pub fn builder() -> RabbitServerBuilder {
        RabbitServerBuilder::default()
    }

    /// The URL to connect to, with user and password, for the virtual host `/`.
    pub fn url(&self) -> String {
        self.url_at(self.node.port)
    }

    /// As [`RabbitServer::url`] with another port, for a proxy in front of it.
    pub fn url_at(&self, port: u16) -> String {
        format!("amqp://{}:{}@127.0.0.1:{port}", self.builder.user, self.builder.password)
    }

    /// The port for AMQP, which stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.node.port
    }

    /// The process id, which changes with a restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process id of the Erlang port mapper that belongs to it.
    pub fn mapper_pid(&self) -> u32 {
        self.mapper.pid()
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

    /// Ends it if it runs, and starts it again with the same ports and data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.process.kill();
        let deadline = Instant::now() + START;
        // For a moment the port can be in use, and the port mapper can take the dead node for alive.
        self.process = loop {
            match self.builder.launch(&self.node, self.folder.path()) {
                Ok(process) => break process,
                Err(error) if Instant::now() > deadline => {
                    panic!("rabbitmq-server did not start again: {error}\n{}", self.log())
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
    }

    /// SIGSTOP: connections stay open and new ones are accepted by the kernel, but nothing answers.
    pub fn stop(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT: goes on after [`RabbitServer::stop`].
    pub fn cont(&self) {
        self.process.signal("CONT");
    }

    /// What `rabbitmqctl` prints, without headings; fields are parted by tabs.
    ///
    /// # Panics
    /// If it fails.
    pub fn ctl(&self, words: &[&str]) -> String {
        self.try_ctl(words).unwrap_or_else(|error| panic!("rabbitmqctl {words:?}: {error}"))
    }

    /// As [`RabbitServer::ctl`], with what it complains about as `Err`.
    ///
    /// # Errors
    /// What it printed when it failed.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn try_ctl(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program("rabbitmqctl").expect("it lies beside rabbitmq-server"));
        self.node.environment(&mut command, self.folder.path());
        // Words that begin with a dash are options of the command and go behind it.
        command.args(["-q", "-n", &self.node.name()]).args(words);
        if words.first().is_some_and(|word| word.starts_with("list_")) {
            command.arg("--no-table-headers");
        }
        let output = command.stdin(std::process::Stdio::null()).output().expect("rabbitmqctl can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
        }
    }
}

/// Settings of a [`RabbitServer`].
#[derive(Debug, Clone)]
pub struct RabbitServerBuilder {
    user: String,
    password: String,
    lines: Vec<String>,
}

impl Default for RabbitServerBuilder {
    fn default() -> Self {
        Self { user: "guest".to_owned(), password: "guest".to_owned(), lines: Vec::new() }
    }
}

impl RabbitServerBuilder {
    /// The name of the only user, who may do everything.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The password of the user.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = password.into();
        self
    }

    /// Adds a line to `rabbitmq.conf`, such as `heartbeat = 5`.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If there is no `rabbitmq-server`, or it does not start.
    pub fn start(self) -> RabbitServer {
        let mut last = None;
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new().prefix("windlass-rabbit-").tempdir().expect("a temporary folder");
            let node = Node { port: free_port(), mapper: free_port(), distribution: free_port() };
            let started = node.start_mapper(folder.path());
            match started.and_then(|mapper| Ok((mapper, self.launch(&node, folder.path())?))) {
                Ok((mapper, process)) => return RabbitServer { builder: self, node, process, mapper, folder },
                Err(error) => last = Some(format!("{error}\n{}", log(folder.path()))),
            }
        }
        panic!("rabbitmq-server did not start in {TRIES} tries: {}", last.unwrap_or_default());
    }

    fn launch(&self, node: &Node, folder: &Path) -> io::Result<Process> {
        let Some(program) = program("rabbitmq-server") else { panic!("{MISSING}") };
        fs::write(folder.join("rabbitmq.conf"), self.configuration(node))?;
        fs::write(folder.join("enabled_plugins"), "[].\n")?;
        let mut command = Command::new(program);
        node.environment(&mut command, folder);
        let mut process = Process::spawn(&mut command, folder)?;
        let deadline = Instant::now() + START;
        while !node.answers(folder, process.pid()) {
            if !process.is_running() {
                return Err(io::Error::other("it ended at once"));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("it does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    fn configuration(&self, node: &Node) -> String {
        let Self { user, password, lines } = self;
        format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             default_user = {user}\ndefault_pass = {password}\n\
             disk_free_limit.absolute = 1MB\n\
             raft.wal_max_size_bytes = 16000000\n{}\n",
            node.port,
            lines.join("\n")
        )
    }
}

/// The ports of one node, from which its name follows.
#[derive(Debug, Clone, Copy)]
struct Node {
    port: u16,
    mapper: u16,
    distribution: u16,
}

impl Node {
    fn name(self) -> String {
        format!("windlass-{}@localhost", self.port)
    }

    /// A port mapper of our own in the foreground: one that Erlang starts is a daemon that nobody ends.
    fn start_mapper(self, folder: &Path) -> io::Result<Process> {
        let mut command = Command::new("epmd");
        command.args(["-port", &self.mapper.to_string(), "-address", "127.0.0.1"]);
        let mapper = match Process::spawn(&mut command, folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!("epmd (part of Erlang): {MISSING}"),
            other => other?,
        };
        let deadline = Instant::now() + START;
        while connect(self.mapper).is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::other("the Erlang port mapper does not listen"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(mapper)
    }

    /// Everything that the scripts would else look up in the folders of the system.
    fn environment(self, command: &mut Command, folder: &Path) {
        let files = [
            ("HOME", ""),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_LOGS", "rabbit.log"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_CONF_ENV_FILE", "rabbitmq-env.conf"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
        ];
        command.current_dir(folder).envs(files.map(|(name, file)| (name, folder.join(file))));
        command.env("RABBITMQ_NODENAME", self.name());
        command.env("RABBITMQ_DIST_PORT", self.distribution.to_string());
        command.env("ERL_EPMD_PORT", self.mapper.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("ERL_FLAGS", "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}");
        // The start script becomes the server instead of waiting for it: its process id is the server's.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        command.env_remove("NOTIFY_SOCKET");
    }

    /// Whether a RabbitMQ listens on the port, and is ours and not somebody else's.
    fn answers(self, folder: &Path, pid: u32) -> bool {
        let ours = fs::read_to_string(folder.join("pid")).is_ok_and(|text| text.trim() == pid.to_string());
        ours && greets(self.port).unwrap_or(false)
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(1))
}

/// Whether the first frame of the answer is a method of channel 0, as `connection.start` is.
fn greets(port: u16) -> io::Result<bool> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(PROTOCOL)?;
    let mut answer = [0; 3];
    stream.read_exact(&mut answer)?;
    Ok(answer == [1, 0, 0])
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = FOLDERS.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("rabbit.log")).unwrap_or_default()
}
