//! Answers that are lost on the way: what is repeated knows its own work.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use windlass_backend_postgres::PostgresBackend;
use windlass_core::{ErrorKind, Expected, NoteChange, Notebook, Result, WriteOutcome};
use windlass_testing::servers::{Fault, FaultProxy};

use super::{at, put, read, remove, version, write};
use crate::support::{Database, NEVER, at as at_url, config, connect, until};

/// A backend whose answers can be lost, and one that is not disturbed.
struct Scene {
    base: Database,
    proxy: FaultProxy,
    disturbed: Arc<PostgresBackend>,
    other: Arc<PostgresBackend>,
}

impl Scene {
    async fn new() -> Self {
        let base = Database::new();
        let proxy = FaultProxy::start(base.port());
        let settings = config(&base).cleanup(NEVER).operation_timeout(Duration::from_secs(20));
        let through = at_url(base.at(("127.0.0.1", proxy.port())), settings.clone());
        let (disturbed, other) = (connect(through).await, connect(settings).await);
        // The connection is there, and knows the statements, before its answers vanish.
        write(&disturbed, put("warm", Expected::Anything, "")).await;
        disturbed.gather(&[at("warm", 0, "")]).await.expect("the server answers");
        Self { base, proxy, disturbed, other }
    }

    /// Begins a call whose answer is lost; it has been carried out when `sql` answers `done`.
    async fn lose(&self, change: NoteChange, sql: &str, done: &str) -> JoinHandle<Result<Vec<WriteOutcome>>> {
        self.proxy.set(Fault::LoseAnswers);
        let backend = Arc::clone(&self.disturbed);
        let call = tokio::spawn(async move { backend.write(&[change]).await });
        until(|| self.base.sql(sql) == done).await;
        call
    }
}

const VALUE: &str = "SELECT convert_from(value, 'UTF8') FROM windlass.note WHERE name = 'a'";

#[tokio::test]
async fn fault_92_a_change_whose_answer_is_lost_is_made_once() {
    let scene = Scene::new().await;
    for expected in [Expected::Absent, Expected::Anything] {
        let call = scene.lose(put("a", expected, format!("{expected:?}")), VALUE, &format!("{expected:?}")).await;
        let there = read(&scene.other, "a").await.unwrap();
        scene.proxy.set(Fault::Pass);
        assert_eq!(call.await.unwrap().unwrap(), [WriteOutcome::Written(there.version)], "{expected:?}");
        assert_eq!(read(&scene.other, "a").await.unwrap(), there, "it is the same change");
    }
    let old = read(&scene.other, "a").await.unwrap().version;
    let call = scene.lose(put("a", Expected::Version(old), "third"), VALUE, "third").await;
    scene.proxy.set(Fault::Pass);
    let WriteOutcome::Written(version) = call.await.unwrap().unwrap()[0] else { panic!("its own work is no conflict") };
    assert_eq!(read(&scene.other, "a").await.unwrap().version, version);
    let removed = "SELECT value IS NULL FROM windlass.note WHERE name = 'a'";
    let call = scene.lose(remove("a", Expected::Version(version)), removed, "t").await;
    scene.proxy.set(Fault::Pass);
    assert_eq!(call.await.unwrap().unwrap(), [WriteOutcome::Written(0)]);
}

#[tokio::test]
async fn fault_92_a_change_that_others_have_built_upon_meanwhile_is_not_called_a_conflict() {
    let scene = Scene::new().await;
    let old = version(&scene.other, put("a", Expected::Absent, "0")).await;
    let call = scene.lose(put("a", Expected::Version(old), "1"), VALUE, "1").await;
    // A count that took the conflict for a refusal would count twice.
    write(&scene.other, put("a", Expected::Anything, "2")).await;
    scene.proxy.set(Fault::Pass);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
    assert_eq!(read(&scene.other, "a").await.unwrap().value, "2");
}

#[tokio::test]
async fn fault_92_a_place_whose_answer_is_lost_is_filled_once() {
    let scene = Scene::new().await;
    scene.proxy.set(Fault::LoseAnswers);
    let backend = Arc::clone(&scene.disturbed);
    let call = tokio::spawn(async move { backend.gather(&[at("a", 0, "1"), at("a", 1, "1")]).await });
    until(|| scene.base.sql("SELECT size FROM windlass.note_set WHERE name = 'a'") == "2").await;
    scene.other.gather(&[at("a", 2, "1")]).await.unwrap();
    scene.proxy.set(Fault::Pass);
    assert_eq!(call.await.unwrap().unwrap(), [3, 3]);
}

#[tokio::test]
async fn fault_92_without_an_answer_in_time_the_outcome_is_unknown() {
    let base = Database::new();
    let proxy = FaultProxy::start(base.port());
    let settings = config(&base).operation_timeout(Duration::from_millis(300));
    let backend = connect(at_url(base.at(("127.0.0.1", proxy.port())), settings)).await;
    write(&backend, put("warm", Expected::Anything, "")).await;
    proxy.set(Fault::LoseAnswers);
    let error = backend.write(&[put("a", Expected::Absent, "1")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unknown, true), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", proxy.port())), "{error}");
    let error = backend.read(&[super::key("a")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "reading changes nothing: {error}");
}
