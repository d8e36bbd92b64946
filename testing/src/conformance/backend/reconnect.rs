//! Connections that break.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use windlass_core::{Backend, Record, SaveOutcome, State};

use super::stripped;
use crate::conformance::{Disturb, PATIENCE, eventually, millis, pass};
use crate::fixture;

/// Saves until there is an answer, as a worker that tries again.
async fn save_until_answered(backend: &Arc<dyn Backend>, records: &[Record]) -> Vec<SaveOutcome> {
    eventually("saving works again", PATIENCE, || async {
        match backend.save(records).await {
            Ok(outcomes) => Some(outcomes),
            Err(error) => {
                assert!(error.is_retryable(), "a lost connection passes: {error:?}");
                None
            }
        }
    })
    .await
}

/// Saving and loading work again after every break, and what was saved is there.
pub async fn saving_goes_on_after_a_lost_connection(backend: Arc<dyn Backend>, disturb: Disturb) {
    for _ in 0..3 {
        let records = [State::Succeeded, State::Failed, State::Running].map(fixture::record);
        // One call that is on its way while the connection breaks; it may be applied without an answer.
        let (outcomes, ()) = tokio::join!(save_until_answered(&backend, &records), async { disturb.now() });
        assert_eq!(outcomes, [SaveOutcome::Saved; 3], "saving again is answered as the first time");
        disturb.now();
        let ids = records.each_ref().map(|record| record.id.clone());
        let loaded = eventually("loading works again", PATIENCE, || async { backend.load(&ids).await.ok() }).await;
        let loaded: Vec<_> = loaded.iter().flatten().map(stripped).collect();
        assert_eq!(loaded, records.each_ref().map(stripped));
    }
}

/// A wait outlives a lost connection, without an error, and is told of the end.
pub async fn a_wait_outlives_a_lost_connection(backend: Arc<dyn Backend>, disturb: Disturb) {
    let record = fixture::record(State::Succeeded);
    let script = async {
        pass(millis(200)).await;
        disturb.now();
        pass(millis(200)).await;
        save_until_answered(&backend, std::slice::from_ref(&record)).await;
    };
    let waiting = timeout(PATIENCE, backend.wait(&record.id, Duration::from_secs(60)));
    let (told, ()) = tokio::join!(waiting, script);
    let told = told.expect("the waiter is told").expect("an unreachable store is waited for");
    assert_eq!(told.as_ref().map(stripped), Some(stripped(&record)));
}
