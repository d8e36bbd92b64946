use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::free_port;
use super::process::Process;

/// Longest wait for a server that was just started, with a log of writes to recover from.
const START: Duration = Duration::from_secs(60);
/// Longest wait for the end of a server.
const END: Duration = Duration::from_secs(20);
/// Ports that are tried before giving up.
const PORTS: usize = 20;
const MISSING: &str = "postgres not found: run `cargo xtask test`, which installs it, or `apt-get install postgresql`";
/// Where the packages of Debian and Ubuntu put the programs, by version.
const PACKAGED: &str = "/usr/lib/postgresql";
/// Who a server runs as that was started by root, which Postgres refuses to run as.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// What the guard does: an immediate shutdown, so that no process and no shared memory is left.
/// A stopped process would not hear of it.
const ENDING: &str = "kill -CONT $(cat /proc/$0/task/$0/children) \"$0\"; kill -QUIT \"$0\"; \
    for _ in $(seq 100); do kill -0 \"$0\" || break; sleep 0.1; done; kill -9 \"$0\"";

/// A private Postgres, with the user and the database `postgres`.
///
/// Its methods block the calling thread; starting takes about a second. If the test is run by root,
/// the server runs as the user `postgres` or `nobody`.
///
/// ```
/// use windlass_testing::servers::PostgresServer;
/// let mut server = PostgresServer::builder().arg("max_connections=20").start();
/// server.sql("CREATE TABLE kept (number int); INSERT INTO kept VALUES (7)");
/// server.restart();
/// assert_eq!(server.sql("SELECT number, current_setting('max_connections') FROM kept"), "7|20");
/// ```
#[derive(Debug)]
pub struct PostgresServer {
    builder: PostgresServerBuilder,
    programs: PathBuf,
    port: u16,
    process: Process,
    // Dropped last, after the server that writes into it.
    folder: TempDir,
}

impl PostgresServer {
    /// Starts a server that trusts everyone on this host and does not wait for the disk.
    ///
    /// # Panics
    /// If there is no Postgres, or it does not start.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with settings.
    pub fn builder() -> PostgresServerBuilder {
        PostgresServerBuilder::default()
    }

    /// The URL to connect to, with the password if there is one.
    pub fn url(&self) -> String {
        let password = self.builder.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://postgres{password}@127.0.0.1:{}/postgres", self.port)
    }

    /// The port, which stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the first process, which changes with a restart.
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

    /// An immediate shutdown of all its processes, as a crash: nothing is finished or written, and
    /// connections are closed without a word of more than one line. Waits until all is gone.
    pub fn kill(&mut self) {
        self.end("QUIT");
    }

    /// A fast shutdown: what runs is rolled back, connections are closed, all is written. Waits
    /// until it is gone.
    pub fn shut_down(&mut self) {
        self.end("INT");
    }

    /// Ends it as [`PostgresServer::kill`] does if it runs, and starts it again with the same port
    /// and folder.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// As [`PostgresServer::restart`], but with a fast shutdown.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_fast(&mut self) {
        self.shut_down();
        self.start_again();
    }

    /// SIGSTOP to all its processes: connections stay open and new ones are accepted by the kernel,
    /// but nothing answers.
    pub fn stop(&self) {
        self.process.signal("STOP");
        // Nobody starts new ones any more.
        self.signal_children("STOP");
    }

    /// SIGCONT: goes on after [`PostgresServer::stop`].
    pub fn cont(&self) {
        self.signal_children("CONT");
        self.process.signal("CONT");
    }

    /// Runs a script with `psql`, statement by statement. Answers one line a row, with `|` between
    /// the columns.
    ///
    /// # Panics
    /// If a statement fails.
    pub fn sql(&self, script: &str) -> String {
        self.try_sql(script).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// As [`PostgresServer::sql`], with what `psql` says as `Err`.
    ///
    /// # Errors
    /// What `psql` wrote when a statement failed.
    pub fn try_sql(&self, script: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", "-d", &self.url()]);
        let (stdin, stdout, stderr) = (Stdio::piped(), Stdio::piped(), Stdio::piped());
        let mut psql = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("psql starts");
        // An error means that it has ended already, and it says why.
        let _ = psql.stdin.take().expect("it was asked for").write_all(script.as_bytes());
        let output = psql.wait_with_output().expect("psql ends");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn end(&mut self, signal: &str) {
        if !self.process.is_running() {
            return;
        }
        self.process.signal(signal);
        // A stopped process does not hear the signal.
        self.cont();
        let deadline = Instant::now() + END;
        while self.process.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.process.kill();
    }

    fn start_again(&mut self) {
        let deadline = Instant::now() + START;
        // The port can be in use for a moment by a connection that somebody makes to it.
        self.process = loop {
            match self.builder.launch(&self.programs, self.port, self.folder.path()) {
                Ok(process) => break process,
                Err(error) if Instant::now() > deadline => panic!("postgres did not start again: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
    }

    /// Sends a signal to all processes that the first has started; some may end meanwhile.
    fn signal_children(&self, name: &str) {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        if !children.trim().is_empty() {
            let mut kill = Command::new("kill");
            let _ = kill.arg(format!("-{name}")).args(children.split_whitespace()).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Settings of a [`PostgresServer`].
#[derive(Debug, Clone, Default)]
pub struct PostgresServerBuilder {
    durable: bool,
    password: Option<String>,
    args: Vec<String>,
}

impl PostgresServerBuilder {
    /// Waits for the disk at every commit, as a server in production does. Without it, a restart
    /// keeps everything too, as long as the machine runs on.
    #[must_use]
    pub fn durable(mut self, on: bool) -> Self {
        self.durable = on;
        self
    }

    /// Demands this password of the user `postgres`.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds a setting, such as `max_connections=20`.
    #[must_use]
    pub fn arg(mut self, setting: impl Into<String>) -> Self {
        self.args.push(setting.into());
        self
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Panics
    /// If there is no Postgres, or it does not start.
    pub fn start(self) -> PostgresServer {
        let programs = programs().unwrap_or_else(|| panic!("{MISSING}"));
        let folder = tempfile::Builder::new().prefix("windlass-postgres-").tempdir().expect("a temporary folder");
        self.initialize(&programs, folder.path());
        let mut last = None;
        for _ in 0..PORTS {
            let port = free_port();
            match self.launch(&programs, port, folder.path()) {
                Ok(process) => return PostgresServer { builder: self, programs, port, process, folder },
                Err(error) => last = Some(error),
            }
        }
        panic!("postgres did not start on any of {PORTS} ports: {last:?}\n{}", log(folder.path()));
    }

    fn initialize(&self, programs: &Path, folder: &Path) {
        if let Some((user, group)) = ordinary_user() {
            chown(folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        let mut command = command(&programs.join("initdb"));
        command.args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "-D"]).arg(folder.join("data"));
        if let Some(password) = &self.password {
            let file = folder.join("password");
            fs::write(&file, password).expect("the folder can be written");
            command.args(["-A", "scram-sha-256", "--pwfile"]).arg(file);
        } else {
            command.args(["-A", "trust"]);
        }
        let output = command.stdin(Stdio::null()).output().expect("initdb starts");
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn launch(&self, programs: &Path, port: u16, folder: &Path) -> io::Result<Process> {
        let mut process = Process::spawn_ended_by(ENDING, &mut self.command_line(programs, port, folder), folder)?;
        let deadline = Instant::now() + START;
        while !is_ready(folder, process.pid()) {
            if !process.is_running() {
                return Err(io::Error::other("it ended at once"));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("it takes no connections"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    fn command_line(&self, programs: &Path, port: u16, folder: &Path) -> Command {
        let mut command = command(Path::new("sh"));
        command.args(["-c", "exec \"$@\" 2>>\"$0\""]).arg(folder.join("postgres.log"));
        command.arg(programs.join("postgres")).arg("-D").arg(folder.join("data"));
        let place = format!("unix_socket_directories={}", folder.display());
        // Without files in /dev/shm, which would outlive a killed server.
        let settings = ["listen_addresses=127.0.0.1", &place, "dynamic_shared_memory_type=mmap", "shared_buffers=32MB"];
        let hasty: &[&str] = if self.durable { &[] } else { &["fsync=off", "full_page_writes=off"] };
        let settings = settings.into_iter().chain(hasty.iter().copied()).chain(self.args.iter().map(String::as_str));
        command.args(settings.flat_map(|setting| ["-c", setting])).args(["-p", &port.to_string()]);
        command
    }
}

/// Whether the server in this folder is that process, and takes connections.
fn is_ready(folder: &Path, pid: u32) -> bool {
    let status = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    let mut lines = status.lines().map(str::trim);
    lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
}

/// The folder of the server's programs, of the newest version.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packaged = fs::read_dir(PACKAGED).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut packaged: Vec<PathBuf> = packaged.map(|version| version.join("bin")).collect();
    packaged.sort();
    let mut folders = packaged.into_iter().rev().chain(std::env::split_paths(&path));
    folders.find(|folder| ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file()))
}

/// A command that runs as an ordinary user if we are root.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = ordinary_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/").env_remove("PGDATA").env("LC_ALL", "C");
    command
}

/// The user and group that a server runs as, if we are root.
fn ordinary_user() -> Option<(u32, u32)> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() != b"0" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users can be read");
    let known = USERS.iter().find_map(|name| {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(known.expect("there is a user postgres or nobody"))
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("postgres.log")).unwrap_or_default()
}
