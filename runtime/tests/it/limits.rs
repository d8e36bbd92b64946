//! What is refused before the broker hears of it.

use std::collections::BTreeMap;

use windlass_core::limits::{DELAY, HEADER_BYTES, PAYLOAD_BYTES};
use windlass_core::{Backoff, Call, Clock, ErrorKind, TaskDef};
use windlass_runtime::ClientSettings;
use windlass_testing::fault::BrokerCall;
use windlass_testing::{Harness, TokioClock};

use crate::support::{WORK, secs};

const STORE: TaskDef<(String,), ()> = TaskDef::new("store");
/// JSON has no keys but texts.
type Unwritable = BTreeMap<(u8, u8), u8>;

const MAP: TaskDef<(Unwritable,), ()> = TaskDef::new("map");

async fn refused<O>(harness: &Harness, call: Call<O>, kind: ErrorKind, says: &[&str]) {
    let error = harness.enqueue(call).await.expect_err(&format!("{says:?} was taken"));
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.is_retryable(), "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_its_limits_is_told_with_field_value_and_limit_and_never_sent() {
    use ErrorKind::{Codec, Invalid};
    let harness = Harness::new();
    let (large, limit) = ("x".repeat(PAYLOAD_BYTES), PAYLOAD_BYTES.to_string());
    let size = (PAYLOAD_BYTES + 4).to_string();
    refused(&harness, STORE.call((large,)), Invalid, &["payload", &size, &limit]).await;

    let long = "q".repeat(129);
    refused(&harness, WORK.call((1,)).queue("two words"), Invalid, &["queue", "two words", "' '", "128"]).await;
    refused(&harness, WORK.call((1,)).queue(""), Invalid, &["queue", "empty", "1 to 128"]).await;
    refused(&harness, WORK.call((1,)).queue(&long), Invalid, &["queue", "129", "128"]).await;
    refused(&harness, WORK.call((1,)).queue("amq.direct"), Invalid, &["queue", "amq.direct", "reserved"]).await;
    refused(&harness, WORK.call((1,)).id("a/b"), Invalid, &["task id", "a/b", "'/'"]).await;
    refused(&harness, Call::<()>::raw("no good", "[]"), Invalid, &["task name", "no good"]).await;

    let days = DELAY.as_secs().to_string();
    let over = DELAY + secs(1);
    let seconds = over.as_secs().to_string();
    refused(&harness, WORK.call((1,)).delay("-5s"), Invalid, &["delay", "-5s", "not negative"]).await;
    refused(&harness, WORK.call((1,)).delay("soon"), Invalid, &["delay", "soon", "30s"]).await;
    refused(&harness, WORK.call((1,)).delay(over), Invalid, &["delay", &seconds, &days]).await;
    refused(&harness, WORK.call((1,)).run_at(TokioClock.now().plus(over)), Invalid, &["delay", &seconds, &days]).await;
    refused(&harness, WORK.call((1,)).expires("x"), Invalid, &["expires", "x"]).await;
    refused(&harness, WORK.call((1,)).timeout("1 week"), Invalid, &["timeout", "1 week"]).await;

    let shrinking = Backoff::exponential(secs(1), 0.5, secs(9));
    refused(&harness, WORK.call((1,)).backoff(shrinking), Invalid, &["backoff", "0.5", "1 to 1000"]).await;
    refused(&harness, WORK.call((1,)).header("a b", "1"), Invalid, &["header", "a b"]).await;
    let (heavy, most) = ("v".repeat(HEADER_BYTES), HEADER_BYTES.to_string());
    refused(&harness, WORK.call((1,)).header("h", heavy), Invalid, &["headers", "16385", &most]).await;

    let unwritable = BTreeMap::from([((1, 2), 3)]);
    refused(&harness, MAP.call((unwritable,)), Codec, &["arguments", "map", "key must be a string"]).await;
    assert_eq!(harness.broker_faults().calls(BrokerCall::Publish), 0);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_payload_is_a_setting_and_itself_allowed() {
    let mut settings = ClientSettings::default();
    settings.payload_limit = 100;
    let harness = Harness::with_settings(settings);
    refused(&harness, Call::<()>::raw("raw", "x".repeat(101)), ErrorKind::Invalid, &["payload", "101 B", "100 B"])
        .await;
    harness.enqueue(Call::<()>::raw("raw", "x".repeat(100))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_longest_delay_is_allowed() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,)).delay(DELAY)).await.unwrap();
    // Without a worker, a year is one step.
    harness.pass(DELAY - secs(10)).await;
    let _worker = harness.worker(|worker| worker.register_fn(WORK, |n: u32| async move { n })).await;
    let start = tokio::time::Instant::now();
    assert_eq!(handle.result().await.unwrap(), 1);
    assert!(start.elapsed() >= secs(10) && start.elapsed() < secs(11), "{:?}", start.elapsed());
}
