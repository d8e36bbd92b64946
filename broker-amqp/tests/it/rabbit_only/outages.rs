//! Nodes that stop and start: everything that was accepted is still there.

use std::collections::HashSet;
use std::time::Instant;

use windlass_core::{LeaseStatus, Schedule};
use windlass_testing::servers::RabbitServer;

use super::*;

/// Finishes what comes, however often, until nothing of this is missing.
async fn finish(broker: &AmqpBroker, queue: &QueueName, missing: &mut HashSet<TaskId>, later: Option<&TaskId>) {
    while missing.iter().any(|id| Some(id) != later) {
        let came = fetch_some(broker, queue, 50).await;
        came.iter().for_each(|delivery| drop(missing.take(&delivery.receipt.id)));
        settle(broker, &came, Disposition::Acknowledge).await;
    }
}

async fn is_lost(broker: &AmqpBroker, held: &[Delivery]) {
    let receipts: Vec<_> = held.iter().map(|delivery| delivery.receipt.clone()).collect();
    eventually("the claims are known to be lost", PATIENCE, || async {
        let statuses = broker.extend(&receipts, LONG).await.unwrap();
        statuses.iter().all(|status| *status == LeaseStatus::Lost).then_some(())
    })
    .await;
}

#[tokio::test]
async fn fault_80_a_node_that_restarts_has_lost_nothing() {
    let mut server = RabbitServer::start();
    for kind in KINDS {
        let prefix = format!("{kind:?}").to_lowercase();
        let config = AmqpBrokerConfig::new(server.url()).prefix(prefix).queue_type(kind).send_timeout(PATIENCE);
        let broker = connect(config).await;
        let queue = fixture::queue();
        let span = Duration::from_secs(9);
        let later = Message { schedule: Schedule::After(span), ..fixture::message(&queue, "later") };
        let start = Instant::now();
        publish(&broker, std::slice::from_ref(&later)).await;
        let mut missing = HashSet::from([later.id.clone()]);
        for way in ["stop_app", "kill"] {
            missing.extend(publish_count(&broker, &queue, 30).await);
            let held = fetch_count(&broker, &queue, 10).await;
            if way == "kill" {
                server.restart();
            } else {
                server.ctl(&["stop_app"]);
                server.ctl(&["start_app"]);
            }
            is_lost(&broker, &held).await;
            missing.extend(publish_count(&broker, &queue, 1).await);
            finish(&broker, &queue, &mut missing, Some(&later.id)).await;
        }
        finish(&broker, &queue, &mut missing, None).await;
        assert!(start.elapsed() >= span, "the delayed one came after {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn fault_74_81_a_channel_that_the_server_closes_is_opened_again() {
    let server = RabbitServer::start();
    let broker = connect(AmqpBrokerConfig::new(server.url())).await;
    let queue = fixture::queue();
    let mut missing = HashSet::from_iter(publish_count(&broker, &queue, 3).await);
    let held = fetch_count(&broker, &queue, 2).await;
    server.ctl(&["eval", "[exit(Channel, kill) || Channel <- rabbit_channel:list()]."]);
    is_lost(&broker, &held).await;
    assert_eq!(settle(&broker, &held, Disposition::Acknowledge).await, [SettleOutcome::Lost; 2]);
    finish(&broker, &queue, &mut missing, None).await;
    missing.extend(publish_count(&broker, &queue, 3).await);
    finish(&broker, &queue, &mut missing, None).await;
}
