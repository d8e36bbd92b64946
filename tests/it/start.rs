//! What a worker says when it starts.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;
use windlass::{Config, Windlass};

#[windlass::task]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Keeps what is logged.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What a worker over this configuration logs at its start, line by line.
async fn started(toml: &str) -> Vec<String> {
    let app = Windlass::builder().config(Config::from_toml(toml, None).expect("it is right")).connect().await;
    let app = app.expect("its server is there");
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).without_time().finish();
    let logging = subscriber.set_default();
    let worker = app.worker().register::<add>().start().await.expect("it starts");
    drop(logging);
    worker.shutdown().await;
    app.close().await;
    let text = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(text).expect("it is a text").lines().map(str::to_owned).collect()
}

#[track_caller]
fn names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[tokio::test]
async fn a_worker_says_what_it_serves_and_what_could_be_lost() {
    let toml = "
        [broker]
        url = 'memory://'
        [worker]
        order = 'strict'
        total = 7
        [worker.queues]
        mail = 5
        math = 3
        [worker.weights]
        mail = 2
    ";
    let lines = started(toml).await;
    let [start, risk] = &lines[..] else { panic!("not two lines: {lines:#?}") };
    names(
        start,
        &[" INFO windlass::worker: worker started ", "queues=mail=5 (weight 2), math=3 ", "order=strict total=7 "],
    );
    names(start, &["priorities=aging ", "tasks=\"add\"", "broker=\"memory\" ", "broker_address=\"memory://\""]);
    names(start, &["backend=\"memory\" ", "backend_address=\"memory://\""]);
    names(
        risk,
        &[
            " WARN windlass::worker: tasks could be lost ",
            "broker=\"memory\"",
            "risk=it is in the memory of this process",
        ],
    );
}

#[tokio::test]
async fn addresses_are_told_without_their_passwords() {
    let server = windlass_testing::servers::RedisServer::start();
    let url = server.url();
    let place = url.strip_prefix("redis://").expect("a URL of Redis");
    // The default user of this server needs no password, and takes any.
    let toml = format!("[broker]\nurl = 'redis://default:secret@{place}'\n[backend]\nurl = 'none'");
    let lines = started(&toml).await;
    names(
        &lines[0],
        &["worker started", &format!("broker_address=\"{url}"), "backend=\"none\"", "queues=default=100 "],
    );
    assert!(!lines.concat().contains("secret"), "{lines:?}");
    assert!(!lines[0].contains("backend_address"), "{lines:?}");
}
