//! A server that is low on memory or disk stops reading from those that publish.

use windlass_core::ErrorKind;
use windlass_testing::servers::RabbitServer;

use super::*;

#[tokio::test]
async fn fault_72_73_an_alarm_stops_publishing_and_nothing_else() {
    let server = RabbitServer::start();
    let queue = fixture::queue();
    let config = AmqpBrokerConfig::new(server.url()).send_timeout(millis(1_500)).operation_timeout(millis(500));
    let broker = connect(config).await;
    let alarms = [
        (["set_vm_memory_high_watermark", "0.00001"], ["set_vm_memory_high_watermark", "0.9"]),
        (["set_disk_free_limit", "99999GB"], ["set_disk_free_limit", "1MB"]),
    ];
    for (begin, end) in alarms {
        publish_count(&broker, &queue, 4).await;
        let held = fetch_count(&broker, &queue, 2).await;
        server.ctl(&begin);
        let message = fixture::messages(&queue, 1);
        let error = broker.publish(&message).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
        assert!(error.to_string().contains("broker blocked: low on memory or disk"), "{error}");
        let error = broker.publish(&fixture::messages(&queue, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing was sent: {error}");
        assert!(broker.risks().iter().any(|risk| risk.contains("low on memory or disk")), "{:?}", broker.risks());
        acknowledge(&broker, &held).await;
        acknowledge(&broker, &fetch_count(&broker, &queue, 2).await).await;
        server.ctl(&end);
        // What was written while it was blocked arrives now.
        let came = fetch_some(&broker, &queue, 1).await;
        assert_eq!(came[0].receipt.id, message[0].id);
        acknowledge(&broker, &came).await;
        assert_eq!(broker.risks(), [""; 0], "it is over, and quorum queues are the best there is");
    }
}
