//! Worker processes of their own for tests: this test binary, started again.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use windlass::{Context, State, Windlass};

/// Says to a process that it is a worker, and in which folder its tasks write; how it works is in the
/// `windlass.toml` of that folder.
const ORDER: &str = "TEST_WINDLASS_WORKER";

/// Where the tasks of a test write what they do.
pub(crate) struct Folder(PathBuf);

/// Runs for about `millis` milliseconds; answers the square of `n`.
#[windlass::task]
pub(crate) async fn work(folder: State<Folder>, n: u64, millis: u64) -> u64 {
    folder.log("start", n);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    folder.log("end", n);
    n * n
}

/// Runs until the file `go` is in the folder; answers which process ran it.
#[windlass::task]
pub(crate) async fn hold(folder: State<Folder>, n: u64) -> u32 {
    folder.log("start", n);
    while !folder.0.0.join("go").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::process::id()
}

/// Blocks the thread that it runs on.
#[windlass::task]
pub(crate) async fn block(folder: State<Folder>, context: Context, n: u64, millis: u64) -> u32 {
    folder.log("start", n);
    std::thread::sleep(Duration::from_millis(millis));
    context.attempt()
}

/// Takes what others have answered; answers the sum.
#[windlass::task]
pub(crate) async fn total(folder: State<Folder>, squares: Vec<u64>, flow: u64) -> u64 {
    folder.log("total", flow);
    squares.iter().sum()
}

impl Folder {
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// One line, in one write at the end of the file, so that lines of several processes do not mix.
    fn log(&self, what: &str, n: u64) {
        let path = self.0.join("log");
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the folder is there");
        file.write_all(format!("{what} {n} {}\n", std::process::id()).as_bytes()).expect("there is room");
    }
}

/// What the tasks have written: what, which task, which process.
pub(crate) fn log(folder: &Path) -> Vec<(String, u64, u32)> {
    let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("three words a line");
        (word().to_owned(), word().parse().expect("a number"), word().parse().expect("a process id"))
    };
    // What is written at this moment may be seen in part.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(line).collect()
}

/// Waits until `condition` holds, at most a minute.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for a minute: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// How a worker process is started.
#[derive(Clone)]
pub(crate) struct Order<'a> {
    /// The sections of a `windlass.toml` that name the stores.
    pub(crate) stores: &'a str,
    pub(crate) folder: &'a Path,
    pub(crate) lease: Duration,
    pub(crate) concurrency: usize,
}

/// A worker process; killed when it is dropped.
pub(crate) struct WorkerProcess {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl WorkerProcess {
    /// Starts it and waits until it fetches.
    pub(crate) fn start(order: &Order<'_>) -> Self {
        let Order { stores, folder, lease, concurrency } = order;
        let lease = lease.as_millis();
        let toml = format!("{stores}\n[worker]\nlease = '{lease}ms'\nconcurrency = {concurrency}\n");
        let config = folder.join("windlass.toml");
        fs::write(&config, toml).expect("the folder is there");
        let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
            .args(["--exact", "child::worker_process", "--nocapture", "--test-threads=1"])
            .env(ORDER, folder)
            .env("WINDLASS_CONFIG", config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary can be started");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut worker = Self { child, output };
        worker.line("ready");
        worker
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads its output up to the line that holds `part`.
    fn line(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.output.read_line(&mut line).expect("it is a text") > 0, "the worker ended before: {part}");
        }
        line
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.expect("there is a kill command").success());
    }

    /// Kills it, as the system does when memory is short.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it was our child");
    }

    /// Asks it to stop, waits for it, and gives what it says it did.
    pub(crate) fn terminate(mut self) -> String {
        self.signal("-TERM");
        let report = self.line("report: ");
        assert!(self.child.wait().expect("it was our child").success());
        report.split("report: ").nth(1).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: the code of the processes above. Without an order there is nothing to do.
#[test]
fn worker_process() {
    let Some(folder) = std::env::var_os(ORDER) else { return };
    let folder = Folder(folder.into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(async {
        let app = Windlass::from_config().await.expect("the servers are there");
        let worker = app.worker().state(folder).register::<work>().register::<hold>().register::<block>();
        let worker = worker.register::<total>();
        let worker = worker.start().await.expect("the order is right");
        println!("ready");
        worker.run().await.expect("signals can be listened to")
    });
    println!("report: {report}");
}
