//! Levels: one that cannot be consumed, and what the server itself moves to the dead letters.

use lapin::options::{BasicGetOptions, BasicNackOptions};
use windlass_core::{Options, Priority, Progress};

use super::*;
use crate::SERVER;

#[tokio::test]
async fn fault_80_a_level_without_a_leader_holds_up_no_other() {
    let queue = fixture::queue();
    let before = connect(shared("leaderless")).await;
    publish_count(&before, &queue, 1).await;
    acknowledge(&before, &fetch_count(&before, &queue, 1).await).await;
    before.close().await;
    // It answers nobody, as one does that finds no leader.
    let process = format!("'%2F_leaderless.{queue}.low'");
    SERVER.ctl(&["eval", &format!("sys:suspend({process}).")]);
    let broker = connect(shared("leaderless")).await;
    let mut expected = publish_count(&broker, &queue, 3).await;
    let held = fetch_count(&broker, &queue, 3).await;
    assert_eq!(ids(&held), expected);

    SERVER.ctl(&["eval", &format!("sys:resume({process}).")]);
    let mut low = fixture::message(&queue, "low");
    low.options = Options { priority: Some(Priority::Low), ..low.options };
    publish(&broker, std::slice::from_ref(&low)).await;
    expected = vec![low.id];
    assert_eq!(ids(&fetch_some(&broker, &queue, 1).await), expected, "it is consumed again");
    // Nothing of the connection was lost meanwhile.
    acknowledge(&broker, &held).await;
}

#[tokio::test]
async fn fault_82_the_limit_of_the_server_is_met_and_the_dead_letters_keep_the_message() {
    let queue = fixture::queue();
    let broker = connect(shared("limit")).await;
    let published = publish_count(&broker, &queue, 1).await;
    let url = format!("{}/%2F", SERVER.url());
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("limit.{queue}.normal");
    let mut returns = 0;
    // Workers that die of it before they can say a word.
    eventually("the server takes it away", PATIENCE, || {
        let got = channel.basic_get(name.as_str().into(), BasicGetOptions::default());
        let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        returns += 1;
        async move {
            match got.await.unwrap() {
                Some(message) => message.delivery.acker.nack(requeue).await.map(|_| None).unwrap(),
                None => Some(()),
            }
        }
    })
    .await;
    assert!(returns > 20, "far above what windlass allows: {returns}");
    let letters = eventually("it is among the dead letters", PATIENCE, || async {
        let page = broker.dead_letters(&queue, None, 10).await.unwrap();
        Some(page.letters).filter(|letters| !letters.is_empty())
    })
    .await;
    assert_eq!(letters[0].id, published[0]);
    assert_eq!(letters[0].reason, "RabbitMQ moved it to the dead letters: delivery_limit");
    assert!(letters[0].died_at.as_micros() > 0);
    assert_eq!(broker.replay(&queue, &published.iter().cloned().map(Into::into).collect::<Vec<_>>()).await.unwrap(), 1);
    let came = fetch_some(&broker, &queue, 1).await;
    assert_eq!((ids(&came), came[0].progress), (published, Progress::default()));
    acknowledge(&broker, &came).await;
}
