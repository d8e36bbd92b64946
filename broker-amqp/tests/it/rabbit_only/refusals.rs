//! What is said when there is no server, or it does not want us.

use std::time::Instant;

use windlass_core::ErrorKind;
use windlass_testing::servers::free_port;

use super::*;
use crate::SERVER;

#[tokio::test]
async fn fault_40_an_absent_server_is_named() {
    let port = free_port();
    let config = AmqpBrokerConfig::new(format!("amqp://anna:pa55@127.0.0.1:{port}/jobs"));
    let start = Instant::now();
    let error = AmqpBroker::connect(config.clone()).await.unwrap_err();
    assert!(start.elapsed() < millis(5_000));
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    let text = format!("{error} {error:?}");
    let place = format!("(rabbitmq: 127.0.0.1:{port}, user: anna, vhost: jobs)");
    assert!(text.contains("cannot reach RabbitMQ") && text.contains(&place) && !text.contains("pa55"), "{text}");

    let lazy = AmqpBroker::open(config.send_timeout(millis(300))).unwrap();
    let error = lazy.publish(&fixture::messages(&fixture::queue(), 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing was sent: {error}");
}

#[tokio::test]
async fn fault_86_the_server_refuses_user_or_vhost() {
    let wrong = format!("amqp://guest:pa55wrong@127.0.0.1:{}", SERVER.port());
    let error = AmqpBroker::connect(AmqpBrokerConfig::new(wrong)).await.unwrap_err();
    let text = format!("{error:?}");
    assert_eq!(error.kind(), ErrorKind::Denied, "{text}");
    assert!(text.contains("ACCESS_REFUSED") && text.contains("user: guest") && !text.contains("pa55"), "{text}");

    let error = AmqpBroker::connect(AmqpBrokerConfig::new(format!("{}/nowhere", SERVER.url()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let text = error.to_string();
    assert!(text.contains("NOT_ALLOWED") && text.contains("vhost: nowhere") && text.contains("user: guest"), "{text}");
}

#[tokio::test]
async fn fault_86_a_missing_permission_is_named_and_its_return_noticed() {
    let user = format!("reader{}", fastrand::u32(..));
    let queue = fixture::queue();
    SERVER.ctl(&["add_user", &user, "pa55"]);
    SERVER.ctl(&["set_permissions", &user, "nothing", "nothing", "nothing"]);
    let url = format!("amqp://{user}:pa55@127.0.0.1:{}", SERVER.port());
    let broker = connect(AmqpBrokerConfig::new(url).prefix("denied")).await;
    let error = broker.publish(&fixture::messages(&queue, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let text = error.to_string();
    assert!(text.contains("ACCESS_REFUSED") && text.contains(&user) && text.contains("vhost '/'"), "{text}");
    assert!(!text.contains("pa55"));

    // Whoever may not declare can use what others have declared.
    let owner = connect(shared("denied")).await;
    publish_count(&owner, &queue, 1).await;
    assert_eq!(fetch_some(&owner, &queue, 1).await.len(), 1);
    SERVER.ctl(&["set_permissions", &user, "nothing", ".*", ".*"]);
    eventually("publishing works without the right to declare", PATIENCE, || async {
        broker.publish(&fixture::messages(&queue, 1)).await.ok()
    })
    .await;
    assert_eq!(fetch_some(&broker, &queue, 1).await.len(), 1);
}

#[test]
fn fault_51_tls_is_refused_with_a_text() {
    let error = AmqpBroker::open(AmqpBrokerConfig::new("amqps://u:pa55@h")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("TLS is not supported yet") && !error.to_string().contains("pa55"), "{error}");
}
