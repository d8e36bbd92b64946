//! The private server ends with the program that started it, whatever becomes of that.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use windlass_testing::servers::PostgresServer;

use crate::support::PATIENCE;

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not happen within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// How many processes work in this folder.
fn processes(folder: &Path) -> usize {
    let data = folder.join("data");
    let folders =
        std::fs::read_dir("/proc").expect("a list of processes").flatten().map(|entry| entry.path().join("cwd"));
    folders.filter(|cwd| std::fs::read_link(cwd).is_ok_and(|cwd| cwd.starts_with(&data))).count()
}

#[test]
fn a_server_ends_with_its_handle() {
    let server = PostgresServer::start();
    let folder = server.folder().to_owned();
    assert!(processes(&folder) > 1);
    drop(server);
    assert!(processes(&folder) == 0 && !folder.exists());
}

#[test]
fn a_server_ends_with_a_program_that_is_killed() {
    const CHILD: &str = "WINDLASS_POSTGRES_CHILD";
    const NAME: &str = "server::a_server_ends_with_a_program_that_is_killed";
    if let Some(how) = std::env::var_os(CHILD) {
        let server = PostgresServer::start();
        if how == "stopped" {
            server.stop();
        }
        println!("\nserver={}", server.folder().display());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    for how in ["running", "stopped"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, how)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.starts_with("server=")).unwrap();
        let folder = PathBuf::from(&line["server=".len()..]);
        assert!(processes(&folder) > 1);
        child.kill().unwrap();
        child.wait().unwrap();
        until("the end of the server and its folder", || processes(&folder) == 0 && !folder.exists());
    }
}

#[test]
fn what_was_committed_outlives_both_ways_to_end() {
    let mut server = PostgresServer::start();
    let (port, pid) = (server.port(), server.pid());
    server.sql("CREATE TABLE kept (number int); INSERT INTO kept VALUES (1)");
    server.restart();
    server.sql("INSERT INTO kept VALUES (2)");
    server.restart_fast();
    assert_eq!(server.sql("SELECT number FROM kept ORDER BY number"), "1\n2");
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    assert!(server.log().contains("immediate shutdown") && server.log().contains("fast shutdown"));
    assert!(server.try_sql("SELECT nothing").unwrap_err().contains("column \"nothing\" does not exist"));
}
