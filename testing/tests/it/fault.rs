//! The wrappers fail as told, once, and otherwise pass on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use windlass_core::{
    Backend, Broker, ErrorKind, Expected, FetchRequest, Heard, NoteChange, NoteKey, Place, Retention, State,
    WriteOutcome,
};
use windlass_testing::fault::{BackendCall, BrokerCall, FaultyBackend, FaultyBroker};
use windlass_testing::{MemoryBackend, MemoryBroker, fixture};

const LEASE: Duration = Duration::from_secs(30);

fn broker() -> (MemoryBroker, FaultyBroker) {
    let memory = MemoryBroker::new();
    (memory.clone(), FaultyBroker::new(Arc::new(memory)))
}

#[tokio::test]
async fn a_call_can_fail_before_it_is_applied() {
    let (memory, faulty) = broker();
    let messages = fixture::messages(&fixture::queue(), 3);
    faulty.fail_before(BrokerCall::Publish, 2, ErrorKind::Rejected);
    faulty.publish(&messages[..1]).await.unwrap();
    assert_eq!(faulty.publish(&messages[1..2]).await.unwrap_err().kind(), ErrorKind::Rejected);
    faulty.publish(&messages[2..]).await.unwrap();
    let there: Vec<_> = memory.enqueued().into_iter().map(|task| task.id).collect();
    assert_eq!(there, [messages[0].id.clone(), messages[2].id.clone()]);
    assert_eq!((faulty.calls(BrokerCall::Publish), faulty.calls(BrokerCall::Fetch)), (3, 0));
}

#[tokio::test]
async fn a_call_can_fail_after_it_is_applied() {
    let (memory, faulty) = broker();
    let messages = fixture::messages(&fixture::queue(), 1);
    faulty.fail_after(BrokerCall::Publish, 1);
    let error = faulty.publish(&messages).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unknown, "publish"));
    assert_eq!(memory.enqueued().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_lost() {
    let (memory, faulty) = broker();
    let messages = fixture::messages(&fixture::queue(), 1);
    faulty.lose_answer(BrokerCall::Publish, 1);
    assert!(timeout(Duration::from_secs(3_600), faulty.publish(&messages)).await.is_err());
    assert_eq!(memory.enqueued().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_late() {
    let (_, faulty) = broker();
    faulty.delay(BrokerCall::Publish, 1, Duration::from_secs(5));
    let start = Instant::now();
    faulty.publish(&[]).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    faulty.publish(&[]).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5), "only once");
}

#[tokio::test]
async fn an_outage_lasts_until_it_ends() {
    let (memory, faulty) = broker();
    let messages = fixture::messages(&fixture::queue(), 1);
    faulty.outage(true);
    for _ in 0..3 {
        assert_eq!(faulty.publish(&messages).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(memory.is_empty());
    faulty.outage(false);
    assert!(faulty.publish(&messages).await.unwrap()[0].is_accepted());
}

#[tokio::test]
async fn a_delivery_can_come_twice() {
    let (_, faulty) = broker();
    let messages = fixture::messages(&fixture::queue(), 4);
    faulty.publish(&messages).await.unwrap();
    let request = FetchRequest::new(messages[0].queue.clone(), 2, LEASE);
    faulty.duplicate_fetch(1);
    let mut fetched = Vec::new();
    for _ in 0..3 {
        fetched.push(faulty.fetch(&request).await.unwrap().into_iter().map(|one| one.receipt).collect::<Vec<_>>());
    }
    assert_eq!(fetched[0], fetched[1]);
    assert_ne!(fetched[1], fetched[2]);
    assert!(faulty.fetch(&request).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_notebook_fails_with_its_backend() {
    let memory = MemoryBackend::new();
    let faulty = FaultyBackend::new(Arc::new(memory.clone()));
    let book = faulty.notebook().unwrap();
    let key = NoteKey::new(fixture::shelf(), "a").unwrap();
    let place = Place { set: key.clone(), place: 0, value: "1".into(), keep: LEASE };
    let change =
        NoteChange { key: key.clone(), expected: Expected::Absent, value: Some("1".into()), keep: Retention::Forever };
    faulty.fail_before(BackendCall::Write, 1, ErrorKind::Unavailable);
    faulty.fail_after(BackendCall::Write, 2);
    faulty.fail_after(BackendCall::Gather, 1);
    let write = async || book.write(std::slice::from_ref(&change)).await;
    assert_eq!(write().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(memory.is_empty());
    assert_eq!(write().await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(write().await.unwrap(), [WriteOutcome::Conflict], "it was applied");
    assert_eq!(book.gather(std::slice::from_ref(&place)).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(book.gathered(&key, 0..1).await.unwrap(), [Some("1".into())]);
    faulty.lose_answer(BackendCall::Read, 1);
    assert!(timeout(LEASE, book.read(std::slice::from_ref(&key))).await.is_err());
    faulty.fail_before(BackendCall::List, 1, ErrorKind::Denied);
    assert_eq!(book.list(key.shelf(), None, 1).await.unwrap_err().kind(), ErrorKind::Denied);
    faulty.fail_before(BackendCall::Listen, 1, ErrorKind::Unavailable);
    assert_eq!(book.listen("topic").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((faulty.calls(BackendCall::Write), faulty.calls(BackendCall::Gathered)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn who_listens_is_told_of_an_outage_when_it_is_over() {
    let memory = MemoryBackend::new();
    let faulty = FaultyBackend::new(Arc::new(memory.clone()));
    let book = faulty.notebook().unwrap();
    let mut listener = book.listen("topic").await.unwrap();
    book.signal("topic", "1".into()).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::Signal("1".into()));
    let script = async {
        tokio::time::sleep(LEASE).await;
        faulty.outage(true);
        assert_eq!(book.signal("topic", "2".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        tokio::time::sleep(LEASE).await;
        faulty.outage(false);
    };
    let start = Instant::now();
    let (heard, ()) = tokio::join!(async { (listener.next().await.unwrap(), start.elapsed()) }, script);
    assert_eq!(heard, (Heard::Missed, 2 * LEASE));
    book.signal("topic", "3".into()).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::Signal("3".into()));
    // One that nobody waited through.
    faulty.outage(true);
    assert!(timeout(LEASE, listener.next()).await.is_err(), "nothing is heard during an outage");
    faulty.outage(false);
    assert_eq!(listener.next().await.unwrap(), Heard::Missed);
}

#[tokio::test(start_paused = true)]
async fn a_backend_fails_the_same_way() {
    let memory = MemoryBackend::new();
    let faulty = FaultyBackend::new(Arc::new(memory.clone()));
    let record = fixture::record(State::Succeeded);
    let (records, ids) = ([record.clone()], [record.id.clone()]);
    faulty.fail_before(BackendCall::Save, 1, ErrorKind::Unavailable);
    faulty.fail_after(BackendCall::Save, 2);
    assert_eq!(faulty.save(&records).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(memory.is_empty());
    assert_eq!(faulty.save(&records).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert!(!memory.is_empty());
    faulty.lose_answer(BackendCall::Load, 1);
    assert!(timeout(Duration::from_secs(60), faulty.load(&ids)).await.is_err());
    assert!(faulty.load(&ids).await.unwrap()[0].is_some());
    faulty.outage(true);
    assert_eq!(faulty.wait(&ids[0], LEASE).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(faulty.calls(BackendCall::Wait), 1);
}
