//! What is said about queues that make no sense: in the configuration, at the worker and at the call.

use windlass::core::Capabilities;
use windlass::{Config, ErrorKind, Overflow, PriorityOrder, QueueOrder, Windlass, WorkerBuilder};

#[windlass::task]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[track_caller]
fn names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[track_caller]
fn refused(toml: &str, parts: &[&str]) {
    let error = Config::from_toml(toml, None).expect_err("it must be refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    names(&error.to_string(), parts);
}

#[test]
fn an_order_says_neither_more_nor_less_than_it_needs() {
    refused("[worker]\norder = 'weighted'", &["worker.total", "no number", "1 to 10000", "weighted"]);
    refused("[worker]\ntotal = 5", &["worker.total", "5", "worker.order is strict or weighted", "TOML"]);
    refused("[worker]\norder = 'strict'\ntotal = 0", &["worker.total", "0", "1 to 10000"]);
    refused("[worker]\norder = 'random'", &["worker.order", "random", "independent, strict, weighted"]);
    refused("[worker]\npriorities = 'fair'", &["worker.priorities", "fair", "aging, strict"]);
    refused("[worker.weights]\ndefault = 2", &["worker.weights", "default", "worker.order is strict or weighted"]);
    let weighted = "[worker]\norder = 'weighted'\ntotal = 9\n[worker.queues]\nmail = 5\nmath = 5\n[worker.weights]\n";
    refused(&format!("{weighted}mial = 2"), &["worker.weights", "\"mial\"", "mail, math"]);
    refused(&format!("{weighted}mail = 0"), &["worker.weights", "0", "1 to 1000", "queue: mail"]);
    refused(&format!("{weighted}mail = -1"), &["worker.weights.mail", "-1"]);
    let strict = weighted.replace("weighted", "strict");
    refused(&strict, &["worker.weights", "strict", "at least two differ"]);
    refused(&format!("{strict}mail = 2\nmath = 2"), &["worker.weights", "strict", "at least two differ"]);
    for right in [format!("{weighted}mail = 2"), weighted.to_owned(), format!("{strict}mail = 2")] {
        assert!(Config::from_toml(&right, None).is_ok(), "{right}");
    }
}

#[test]
fn a_limit_is_a_number_of_a_queue() {
    refused("[queues.mail]\nmax_length = 0", &["queues.max_length", "0", "at least 1", "queue: mail"]);
    refused("[queues.mail]\nmax_length = 'many'", &["queues.mail.max_length", "many"]);
    refused("[queues.mail]\noverflow = 'reject'", &["queues.overflow", "reject", "max_length", "queue: mail"]);
    refused(
        "[queues.mail]\nmax_length = 1\noverflow = 'block'",
        &["queues.mail.overflow", "block", "reject, drop-oldest"],
    );
    refused("[queues.mail]\nlength = 1", &["length", "max_length, overflow"]);
    refused("[queues.'a b']\nmax_length = 1", &["queues", "a b", "byte 1"]);
    refused("[queues]\nmail = 5", &["queues.mail", "5"]);
}

#[tokio::test]
async fn a_limit_of_the_configuration_is_kept_and_the_program_wins() {
    let toml = "[broker]\nurl = 'memory://'\n[queues.mail]\nmax_length = 1\n[queues.math]\nmax_length = 1\noverflow = 'drop-oldest'";
    let config = Config::from_toml(toml, None).expect("it is right");
    let app =
        Windlass::builder().config(config).queue_limit("mail", 2, Overflow::Reject).connect().await.expect("memory");
    for queue in ["mail", "mail", "math", "math", "math"] {
        app.enqueue(add::call(1, 2).queue(queue)).await.expect("there is room, or room is made");
    }
    let error = app.enqueue(add::call(1, 2).queue("mail")).await.expect_err("it is full");
    assert_eq!(error.kind(), ErrorKind::Full);
    names(&error.to_string(), &["queue mail is full", "2 tasks wait, 2 may", "queues.mail.max_length"]);
    assert_eq!(app.dead("math").expect("a name").list(None, 10).await.expect("memory").letters.len(), 2);
    let error = Windlass::builder().broker("memory://").queue_limit("mail", 0, Overflow::Reject).connect().await;
    names(&error.expect_err("nothing could wait").to_string(), &["queues.max_length", "0", "queue: mail"]);
}

#[tokio::test]
async fn a_worker_whose_queues_make_no_sense_does_not_start() {
    let app = Windlass::connect("memory://").await.expect("memory");
    let worker = || app.worker().register::<add>();
    let two = || worker().queue("a", 1).queue("b", 1);
    let refused: [(WorkerBuilder, &[&str]); 5] = [
        (worker().order(QueueOrder::Weighted), &["worker.total", "no number", "1 to 10000"]),
        (worker().total(4), &["worker.total", "4", "worker.order"]),
        (two().order(QueueOrder::Strict).total(4), &["worker.weights", "at least two differ"]),
        (two().order(QueueOrder::Strict).total(4).weight("c", 2), &["worker.weights", "\"c\"", "a, b"]),
        (two().order(QueueOrder::Weighted).total(20_000), &["worker.total", "20000", "1 to 10000"]),
    ];
    for (worker, parts) in refused {
        let error = worker.start().await.expect_err("it must be refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        names(&error.to_string(), parts);
    }
    let right = two().order(QueueOrder::Strict).total(4).weight("a", 2).priorities(PriorityOrder::Strict);
    right.start().await.expect("that is how it is done").shutdown().await;
}

#[tokio::test]
async fn names_of_queues_are_checked_before_any_call() {
    let app = Windlass::connect("memory://").await.expect("memory");
    for error in [
        app.queue("a b").expect_err("no name"),
        app.dead("").expect_err("no name"),
        app.queue("a").expect("a name").move_to("amq.x").await.expect_err("no name"),
        app.queue("a").expect("a name").move_to("a").await.expect_err("it is there already"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        names(&error.to_string(), &["queue"]);
    }
    let alone = Windlass::builder().broker("memory://").backend("none").connect().await.expect("memory");
    let error = alone.queue("mail").expect("a name").pause().await.expect_err("there is no place for the note");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    names(&error.to_string(), &["paused queue", "set backend.url"]);
}

/// RabbitMQ cannot look into a queue to find its oldest message.
#[tokio::test]
async fn a_store_that_cannot_drop_the_oldest_is_refused_at_connect_with_the_cure() {
    let server = windlass_testing::servers::RabbitServer::start();
    let builder = || Windlass::builder().broker(server.url()).backend("none");
    let error = builder().queue_limit("mail", 5, Overflow::DropOldest).connect().await.expect_err("it cannot");
    assert_eq!(error.kind(), ErrorKind::Config);
    names(&error.to_string(), &["queues.mail.overflow", "drop-oldest", "RabbitMQ cannot", "\"reject\""]);
    let app = builder().queue_limit("mail", 5, Overflow::Reject).connect().await.expect("that it can");
    let Capabilities { limit, .. } = app.client().broker().capabilities();
    assert!(limit);
    app.close().await;
}
