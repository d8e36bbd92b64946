//! The private server does what the other tests rely on.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use windlass_testing::servers::RabbitServer;

const LONG: Duration = Duration::from_secs(20);

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen within {LONG:?}");
        std::thread::yield_now();
    }
}

fn exists(pid: u32) -> bool {
    Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

fn is_gone(pids: &[u32], folder: &Path) -> bool {
    !pids.iter().any(|pid| exists(*pid)) && !folder.exists()
}

#[test]
fn a_server_lives_through_kill_and_pause_and_ends_without_a_trace() {
    let mut server = RabbitServer::builder().user("anna").password("secret").line("heartbeat = 7").start();
    assert!(server.url().contains("anna:secret@127.0.0.1"));
    assert_eq!(server.ctl(&["list_users"]).split_whitespace().next(), Some("anna"));
    assert!(server.try_ctl(&["delete_queue", "missing"]).is_err());
    server.ctl(&["add_vhost", "kept"]);
    server.stop();
    server.cont();
    server.ctl(&["stop_app"]);
    server.ctl(&["start_app"]);
    let before = server.pid();
    server.kill();
    assert!(!exists(before));
    server.restart();
    assert_ne!(server.pid(), before);
    assert!(server.ctl(&["list_vhosts"]).contains("kept"));

    let (pids, folder) = ([server.pid(), server.mapper_pid()], server.folder().to_owned());
    assert!(pids.iter().all(|pid| exists(*pid)));
    drop(server);
    until("all is gone", || is_gone(&pids, &folder));
}

#[test]
fn a_server_ends_with_a_program_that_is_killed() {
    const CHILD: &str = "WINDLASS_AMQP_CHILD";
    const NAME: &str = "server::a_server_ends_with_a_program_that_is_killed";
    if std::env::var_os(CHILD).is_some() {
        let server = RabbitServer::start();
        println!("\nSERVER {} {} {}", server.pid(), server.mapper_pid(), server.folder().display());
        std::thread::park();
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("SERVER ")).expect("it starts a server");
    let words: Vec<&str> = line.split(' ').collect();
    let (pids, folder) = ([words[1], words[2]].map(|word| word.parse().unwrap()), PathBuf::from(words[3]));
    assert!(pids.iter().all(|pid| exists(*pid)));
    child.kill().unwrap();
    child.wait().unwrap();
    until("all is gone", || is_gone(&pids, &folder));
}
