//! The private servers and the proxy do what tests rely on.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use windlass_testing::servers::{Fault, FaultProxy, RedisServer};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

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

#[test]
fn a_server_ends_with_its_handle() {
    let server = RedisServer::start();
    let (pid, folder) = (server.pid(), server.folder().to_owned());
    assert_eq!(server.command(&["PING"]), "PONG");
    assert!(exists(pid) && folder.is_dir());
    drop(server);
    assert!(!exists(pid) && !folder.exists());
}

#[test]
fn a_server_ends_with_a_program_that_is_killed() {
    const CHILD: &str = "WINDLASS_TESTING_CHILD";
    const NAME: &str = "servers::a_server_ends_with_a_program_that_is_killed";
    if std::env::var_os(CHILD).is_some() {
        let server = RedisServer::start();
        println!("\nserver={} {}", server.pid(), server.folder().display());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("server=")).unwrap();
    let (pid, folder) = line["server=".len()..].split_once(' ').unwrap();
    let (pid, folder) = (pid.parse().unwrap(), PathBuf::from(folder));
    assert!(exists(pid) && folder.is_dir());
    child.kill().unwrap();
    child.wait().unwrap();
    until("the end of the server and its folder", || !exists(pid) && !folder.exists());
}

#[test]
fn a_server_that_appends_keeps_its_data_and_port_over_kill_and_restart() {
    let mut server = RedisServer::builder().append_only(true).arg("--maxmemory").arg("50mb").start();
    let (port, pid) = (server.port(), server.pid());
    server.command(&["SET", "key", "value"]);
    server.kill();
    assert_eq!(TcpStream::connect(("127.0.0.1", port)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(server.command(&["GET", "key"]), "value");
    assert_eq!(server.command(&["CONFIG", "GET", "maxmemory"]), "maxmemory\n52428800");
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
}

#[test]
fn a_password_is_in_the_url_and_demanded() {
    let server = RedisServer::builder().password("secret").start();
    assert_eq!(server.url(), format!("redis://:secret@127.0.0.1:{}", server.port()));
    assert_eq!(server.command(&["ECHO", "in"]), "in");
    assert_eq!(ask(server.port(), LONG).unwrap(), "-NOAUTH Authentication required.\r\n");
}

#[test]
fn errors_of_the_server_are_told() {
    let server = RedisServer::start();
    assert!(server.try_command(&["NOSUCH"]).unwrap_err().starts_with("ERR unknown command"));
    assert!(server.log().contains("Ready to accept connections"));
}

#[test]
fn a_stopped_server_is_silent_until_it_goes_on() {
    let server = RedisServer::start();
    server.stop();
    let error = ask(server.port(), SHORT).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    server.cont();
    assert_eq!(ask(server.port(), LONG).unwrap(), "+PONG\r\n");
}

fn ask(port: u16, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    ping(&mut stream, patience)
}

fn ping(stream: &mut TcpStream, patience: Duration) -> std::io::Result<String> {
    stream.write_all(b"PING\r\n")?;
    answer(stream, patience)
}

fn answer(stream: &mut TcpStream, patience: Duration) -> std::io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    let mut buffer = [0; 256];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            // The end of a child process of another test.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn the_proxy_passes_refuses_and_passes_again() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let mut stream = TcpStream::connect(proxy.addr()).unwrap();
    assert_eq!(ping(&mut stream, LONG).unwrap(), "+PONG\r\n");
    proxy.set(Fault::Refuse);
    assert_eq!(ask(proxy.port(), LONG).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(answer(&mut stream, LONG).unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.set(Fault::Pass);
    assert_eq!(ask(proxy.port(), LONG).unwrap(), "+PONG\r\n");
    until("the end of all connections", || proxy.open() == 0);
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn the_proxy_resets() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let mut stream = TcpStream::connect(proxy.addr()).unwrap();
    assert_eq!(ping(&mut stream, LONG).unwrap(), "+PONG\r\n");
    proxy.cut();
    assert_eq!(answer(&mut stream, LONG).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(proxy.port(), LONG).unwrap(), "+PONG\r\n");
    proxy.set(Fault::Reset);
    let error = ask(proxy.port(), LONG).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

#[test]
fn a_blackhole_delivers_late_what_was_sent_meanwhile() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let mut stream = TcpStream::connect(proxy.addr()).unwrap();
    assert_eq!(ping(&mut stream, LONG).unwrap(), "+PONG\r\n");
    proxy.set(Fault::Blackhole);
    assert_eq!(ping(&mut stream, SHORT).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.set(Fault::Pass);
    assert_eq!(answer(&mut stream, LONG).unwrap(), "+PONG\r\n");
}

#[test]
fn lost_answers_belong_to_requests_that_were_applied() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let mut stream = TcpStream::connect(proxy.addr()).unwrap();
    assert_eq!(ping(&mut stream, LONG).unwrap(), "+PONG\r\n");
    proxy.set(Fault::LoseAnswers);
    stream.write_all(b"SET key value\r\n").unwrap();
    until("the write", || server.command(&["GET", "key"]) == "value");
    assert_eq!(answer(&mut stream, SHORT).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.set(Fault::Pass);
    assert_eq!(answer(&mut stream, LONG).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_delay_holds_in_both_directions() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    proxy.set(Fault::Delay(SHORT));
    let start = Instant::now();
    assert_eq!(ask(proxy.port(), LONG).unwrap(), "+PONG\r\n");
    assert!(start.elapsed() >= 2 * SHORT, "{:?}", start.elapsed());
}

#[test]
fn a_retargeted_proxy_leads_to_the_other_server() {
    let (one, two) = (RedisServer::start(), RedisServer::start());
    let proxy = FaultProxy::start(one.port());
    let mut stream = TcpStream::connect(proxy.addr()).unwrap();
    assert_eq!(ping(&mut stream, LONG).unwrap(), "+PONG\r\n");
    proxy.retarget(two.port());
    assert_eq!(answer(&mut stream, LONG).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let before = calls(&two);
    assert_eq!(ask(proxy.port(), LONG).unwrap(), "+PONG\r\n");
    assert!(calls(&two) > before);
}

/// How many PING commands the server has answered.
fn calls(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_ping:calls=")).unwrap();
    line.split(',').next().unwrap().parse().unwrap()
}
