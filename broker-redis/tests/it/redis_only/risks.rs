//! What could be lost, as the server tells it.

use windlass_testing::servers::RedisServer;

use super::*;

fn begins(broker: &RedisBroker) -> Vec<String> {
    broker.risks().iter().map(|risk| risk.split([':', ';']).next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn risks_are_those_of_the_last_connection() {
    let server = RedisServer::start();
    let broker = connect(server.url()).await;
    assert_eq!(begins(&broker), ["no persistence", "no replica"]);
    for setting in [["appendonly", "yes"], ["maxmemory-policy", "allkeys-lru"]] {
        server.command(&["CONFIG", "SET", setting[0], setting[1]]);
    }
    assert_eq!(begins(&broker).len(), 2, "nothing is asked of a connection that lasts");
    let expected = ["appendfsync is everysec", "maxmemory-policy is allkeys-lru", "no replica"];
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let queue = fixture::queue();
    eventually("it connects again", PATIENCE, || async {
        let fetched = broker.fetch(&request(&queue, 1)).await;
        (fetched.is_ok() && begins(&broker) == expected).then_some(())
    })
    .await;
    server.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let other = connect(server.url()).await;
    assert_eq!(begins(&other), &expected[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_no_risk() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "-info"]);
    let broker = connect(server.url().replace("redis://", "redis://worker:secret@")).await;
    assert_eq!(broker.risks(), Vec::<String>::new());
    // A server that keeps its settings to itself, as hosted ones do.
    server.command(&["ACL", "SETUSER", "worker", "+info", "-config"]);
    let broker = connect(server.url().replace("redis://", "redis://worker:secret@")).await;
    assert_eq!(begins(&broker), ["no replica"]);
    let lazy = RedisBroker::open(RedisBrokerConfig::new(server.url())).unwrap();
    assert_eq!(lazy.risks(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_seen() {
    let primary = RedisServer::start();
    let replica = RedisServer::start();
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    eventually("the replica follows", PATIENCE, || async {
        primary.command(&["INFO", "replication"]).contains("connected_slaves:1").then_some(())
    })
    .await;
    let broker = connect(primary.url()).await;
    assert!(!begins(&broker).contains(&"no replica".to_owned()), "{:?}", broker.risks());
}
