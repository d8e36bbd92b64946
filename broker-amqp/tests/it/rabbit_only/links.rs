//! The way to the server: cut, silent, slow.

use std::time::Instant;

use windlass_core::{ErrorKind, LeaseStatus};
use windlass_testing::servers::{Fault, FaultProxy};

use super::*;
use crate::SERVER;

fn behind(proxy: &FaultProxy, prefix: &str) -> AmqpBrokerConfig {
    AmqpBrokerConfig::new(SERVER.url_at(proxy.port()))
        .prefix(prefix)
        .operation_timeout(millis(500))
        .connect_timeout(millis(2_000))
        .send_timeout(millis(1_500))
}

#[tokio::test]
async fn fault_41_after_a_cut_all_goes_on_and_nothing_is_lost() {
    let proxy = FaultProxy::start(SERVER.port());
    let queue = fixture::queue();
    let broker = connect(behind(&proxy, "cut").send_timeout(PATIENCE)).await;
    let mut published = publish_count(&broker, &queue, 20).await;
    let held = fetch_count(&broker, &queue, 5).await;
    proxy.set(Fault::Refuse);
    assert_eq!(settle(&broker, &held, Disposition::Acknowledge).await, [SettleOutcome::Lost; 5]);
    let receipts: Vec<_> = held.iter().map(|delivery| delivery.receipt.clone()).collect();
    assert_eq!(broker.extend(&receipts, LONG).await.unwrap(), [LeaseStatus::Lost; 5]);
    proxy.set(Fault::Pass);
    published.extend(publish_count(&broker, &queue, 1).await);
    let mut found = ids(&fetch_count(&broker, &queue, 21).await);
    found.sort();
    published.sort();
    assert_eq!(found, published);
}

#[tokio::test]
async fn fault_78_a_confirm_that_never_comes_is_unknown() {
    let proxy = FaultProxy::start(SERVER.port());
    let queue = fixture::queue();
    let broker = connect(behind(&proxy, "silent")).await;
    publish_count(&broker, &queue, 1).await;
    proxy.set(Fault::Blackhole);
    let start = Instant::now();
    let message = fixture::messages(&queue, 1);
    let error = broker.publish(&message).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
    assert!(start.elapsed() < millis(6_000), "it took {:?}", start.elapsed());
    proxy.set(Fault::Pass);
    eventually("the same id is taken later", PATIENCE, || async { broker.publish(&message).await.ok() }).await;
}

#[tokio::test]
async fn fault_43_a_silent_server_is_given_up_and_found_again() {
    let proxy = FaultProxy::start(SERVER.port());
    let queue = fixture::queue();
    let broker = connect(behind(&proxy, "halfopen").heartbeat(Duration::from_secs(1))).await;
    let published = publish_count(&broker, &queue, 2).await;
    let held = fetch_count(&broker, &queue, 1).await;
    let receipt = [held[0].receipt.clone()];
    proxy.set(Fault::Blackhole);
    eventually("the claim is known to be lost", PATIENCE, || async {
        (broker.extend(&receipt, LONG).await.unwrap() == [LeaseStatus::Lost]).then_some(())
    })
    .await;
    proxy.set(Fault::Pass);
    let mut found = ids(&fetch_count(&broker, &queue, 2).await);
    found.sort();
    let mut expected = published;
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn fault_50_a_dropped_publish_is_there_once_or_not_at_all() {
    let queue = fixture::queue();
    let broker = connect(shared("dropped")).await;
    for wait in 0..20 {
        let _ = tokio::time::timeout(Duration::from_micros(wait * 100), async {
            broker.publish(&fixture::messages(&queue, 3)).await
        })
        .await;
    }
    let last = publish_count(&broker, &queue, 1).await;
    let mut seen = std::collections::HashSet::new();
    while !seen.contains(&last[0]) {
        let came = fetch_some(&broker, &queue, 50).await;
        assert!(came.iter().all(|delivery| seen.insert(delivery.receipt.id.clone())), "one of them came twice");
        acknowledge(&broker, &came).await;
    }
}

#[test]
fn heartbeats_go_out_although_the_runtime_of_the_caller_is_blocked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let queue = fixture::queue();
    let config = shared("blocked").heartbeat(Duration::from_secs(1));
    let (broker, held) = runtime.block_on(async {
        let broker = connect(config).await;
        publish_count(&broker, &queue, 1).await;
        let held = fetch_some(&broker, &queue, 1).await;
        (broker, held)
    });
    // Nothing drives the runtime meanwhile; the server gives up a silent client after 3 s.
    let until = Instant::now() + millis(5_000);
    while Instant::now() < until {
        std::thread::park_timeout(millis(100));
    }
    runtime.block_on(acknowledge(&broker, &held));
}
