//! Bad input gets a clear error that names field, value and limit, and nothing is lost.

use std::time::{Duration, Instant};

use windlass::{Call, ErrorKind, FailureKind, ResultError, TaskDef, Windlass};
use windlass_testing::servers::RedisServer;

#[windlass::task]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

async fn memory() -> Windlass {
    Windlass::connect("memory://").await.expect("memory is always there")
}

#[track_caller]
fn names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

async fn refused<O>(app: &Windlass, call: Call<O>, parts: &[&str]) {
    let error = app.enqueue(call).await.expect_err("it must be refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    names(&error.to_string(), parts);
}

#[tokio::test]
async fn calls_are_checked_at_the_door() {
    let app = memory().await;
    let call = || add::call(1, 2);
    refused(&app, Call::<i64>::raw("add", vec![b'1'; 1024 * 1024 + 1]), &["payload", "1048577 B", "1048576 B"]).await;
    refused(&app, call().queue("a b"), &["queue", "\"a b\"", "' '", "byte 1"]).await;
    refused(&app, call().queue(""), &["queue", "empty"]).await;
    refused(&app, call().queue("amq.x"), &["queue", "amq.", "RabbitMQ"]).await;
    refused(&app, Call::<i64>::raw("no/slash", "[]"), &["task name", "'/'", "byte 2"]).await;
    refused(&app, call().id("x".repeat(129)), &["task id", "129 bytes", "128"]).await;
    refused(&app, call().delay("-5s"), &["delay", "\"-5s\"", "not negative"]).await;
    refused(&app, call().delay(Duration::from_secs(367 * 86_400)), &["delay", "31708800 s", "31622400 s"]).await;
    refused(&app, call().header("a b", "x"), &["header name", "\"a b\""]).await;
    refused(&app, call().header("a", "x".repeat(20_000)), &["headers", "20001 B", "16384 B"]).await;
}

#[tokio::test]
async fn arguments_that_cannot_be_encoded_are_refused() {
    let sum: TaskDef<(std::collections::BTreeMap<Vec<u8>, u8>,), u8> = TaskDef::new("sum");
    let error = memory().await.enqueue(sum.call(([(vec![1], 1)].into(),))).await.expect_err("JSON keys are texts");
    assert_eq!(error.kind(), ErrorKind::Codec);
    names(&error.to_string(), &["arguments", "sum", "key must be a string"]);
}

#[tokio::test]
async fn wrong_arguments_of_a_foreign_client_fail_the_task_and_keep_its_bytes() {
    let app = memory().await;
    let worker = app.worker().register::<add>().start().await.expect("it starts");
    let handle = app.enqueue(Call::<i64>::raw("add", r#"[1,"two"]"#)).await.expect("bytes are bytes");
    let Err(ResultError::Failed { failure, .. }) = handle.result().await else { panic!("it must fail") };
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Arguments, 1));
    names(&failure.to_string(), &["arguments", "invalid type: string \"two\", expected i64", "column 8"]);
    worker.shutdown().await;
    let page = app.client().broker().dead_letters(handle.queue(), None, 10).await.expect("memory lists them");
    let message = page.letters[0].content.as_ref().expect("it was a message");
    assert_eq!(&message.payload[..], br#"[1,"two"]"#);
}

#[tokio::test]
async fn urls_are_checked_before_anything_is_connected() {
    for (url, parts) in [
        ("rediss+x://h", &["broker.url", "\"rediss+x\"", "memory://", "redis://"][..]),
        ("rediss://h", &["broker.url", "\"rediss\"", "TLS is not supported yet"]),
        ("localhost:6379", &["broker.url", "no scheme", "redis://"]),
        ("", &["broker.url", "no URL is set"]),
        ("redis://:secret@", &["url"]),
        ("amqps://h", &["broker.url", "\"amqps\"", "TLS is not supported yet"]),
        ("amqp://me:secret@", &["url"]),
        ("postgres://me:secret@h/d", &["broker.url", "keeps results, and takes no tasks", "redis://, amqp://"]),
    ] {
        let error = Windlass::connect(url).await.expect_err("it must be refused");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        names(&error.to_string(), parts);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_backend_that_keeps_no_results_is_refused() {
    for (url, parts) in [
        ("amqp://me:secret@h", &["backend.url", "takes tasks, and keeps no results", "postgres://"][..]),
        ("mysql://me:secret@h", &["backend.url", "\"mysql\"", "redis://, postgres://"]),
    ] {
        let error = Windlass::builder().broker("memory://").backend(url).connect().await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        names(&error.to_string(), parts);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once() {
    for (broker, backend) in [
        ("redis://me:secret@127.0.0.1:1/0", "none"),
        ("amqp://me:secret@127.0.0.1:1/%2f", "none"),
        ("memory://", "postgres://me:secret@127.0.0.1:1/d"),
    ] {
        let start = Instant::now();
        let connected = Windlass::builder().broker(broker).backend(backend).connect().await;
        let error = connected.expect_err("nothing listens there");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        names(&error.to_string(), &["127.0.0.1:1"]);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_told_within_the_limit() {
    let server = RedisServer::start();
    server.stop();
    let start = Instant::now();
    let error = Windlass::connect(server.url()).await.expect_err("it does not answer");
    assert!(error.is_retryable(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
    server.cont();
}

#[tokio::test]
async fn a_worker_without_sense_does_not_start() {
    let app = memory().await;
    for (worker, parts) in [
        (app.worker(), &["no task is registered"][..]),
        (app.worker().register::<add>().register::<add>(), &["two handlers", "add"]),
        (app.worker().register::<add>().concurrency(0), &["worker.concurrency", "0", "1 to 10000"]),
        (app.worker().register::<add>().queue("a", 1).queue("a", 2), &["queue \"a\"", "twice"]),
        (app.worker().register::<add>().lease(Duration::ZERO), &["worker.lease", "0ns", "100ms"]),
    ] {
        names(&worker.start().await.expect_err("it must be refused").to_string(), parts);
    }
}
