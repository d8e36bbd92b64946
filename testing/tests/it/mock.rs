//! The mocks answer as told, also behind the traits, and notice calls that do not come.

use std::sync::Arc;

use windlass_core::{
    Backend, Broker, Capabilities, DeadPage, Error, ErrorKind, Expected, NoteChange, NoteKey, NotePage, Retention,
    SaveOutcome, State, WriteOutcome,
};
use windlass_testing::fixture;
use windlass_testing::mock::{MockBackend, MockBroker, MockNotebook};

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
    backend.expect_notebook().return_const(None);
    let backend: Arc<dyn Backend> = Arc::new(backend);
    assert!(backend.notebook().is_none());
    assert_eq!(backend.save(&[fixture::record(State::Failed)]).await.unwrap(), [SaveOutcome::Refused]);
    let error = backend.wait(&fixture::task_id(), std::time::Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_mock_can_have_a_notebook() {
    let mut notebook = MockNotebook::new();
    notebook.expect_write().times(1).returning(|changes| Ok(vec![WriteOutcome::Conflict; changes.len()]));
    notebook.expect_list().withf(|_, after, _| *after == Some("a")).returning(|_, _, _| Ok(NotePage::default()));
    let notebook: &'static MockNotebook = Box::leak(Box::new(notebook));
    let mut backend = MockBackend::new();
    backend.expect_notebook().returning(|| Some(notebook));
    let backend: Arc<dyn Backend> = Arc::new(backend);
    let notebook = backend.notebook().unwrap();
    let key = NoteKey::new("shelf", "a").unwrap();
    let change = NoteChange { key, expected: Expected::Absent, value: None, keep: Retention::Forever };
    assert_eq!(notebook.write(&[change]).await.unwrap(), [WriteOutcome::Conflict]);
    assert_eq!(notebook.list("shelf", Some("a"), 10).await.unwrap(), NotePage::default());
}

#[test]
#[should_panic(expected = "MockBroker::publish")]
fn a_call_that_does_not_come_is_noticed() {
    let mut broker = MockBroker::new();
    broker.expect_publish().times(1).returning(|_| Ok(Vec::new()));
}
