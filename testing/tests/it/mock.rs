//! The mocks answer as told, also behind the traits, and notice calls that do not come.

use std::sync::Arc;

use windlass_core::{Backend, Broker, Capabilities, DeadPage, Error, ErrorKind, SaveOutcome, State};
use windlass_testing::fixture;
use windlass_testing::mock::{MockBackend, MockBroker};

#[tokio::test]
async fn mocks_answer_as_told() {
    let mut broker = MockBroker::new();
    broker.expect_capabilities().return_const(Capabilities::all("mock"));
    broker
        .expect_dead_letters()
        .withf(|_, cursor, max| *cursor == Some("7") && *max == 10)
        .times(1)
        .returning(|_, _, _| Ok(DeadPage { letters: Vec::new(), next: Some("8".to_owned()) }));
    let broker: Arc<dyn Broker> = Arc::new(broker);
    assert_eq!(broker.capabilities().name, "mock");
    let page = broker.dead_letters(&fixture::queue(), Some("7"), 10).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("8"));

    let mut backend = MockBackend::new();
    backend.expect_save().returning(|records| Ok(vec![SaveOutcome::Refused; records.len()]));
    backend.expect_wait().returning(|_, _| Err(Error::new(ErrorKind::Closed, "wait", "closed")));
    let backend: Arc<dyn Backend> = Arc::new(backend);
    assert_eq!(backend.save(&[fixture::record(State::Failed)]).await.unwrap(), [SaveOutcome::Refused]);
    let error = backend.wait(&fixture::task_id(), std::time::Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
#[should_panic(expected = "MockBroker::publish")]
fn a_call_that_does_not_come_is_noticed() {
    let mut broker = MockBroker::new();
    broker.expect_publish().times(1).returning(|_| Ok(Vec::new()));
}
