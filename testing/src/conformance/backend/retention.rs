//! Everything ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use windlass_core::{Backend, Record, Retention, SaveOutcome, State, Token};

use super::{load, outcomes, save, stripped};
use crate::conformance::{PATIENCE, eventually, millis, pass};
use crate::fixture;

const SHORT: Retention = Retention::For(Duration::from_millis(300));

/// A record ends with its retention; a later one starts a new one.
pub async fn a_record_ends_with_its_retention(backend: Arc<dyn Backend>) {
    let short = Record { status_ttl: SHORT, result_ttl: SHORT, ..fixture::record(State::Succeeded) };
    let long = fixture::record(State::Succeeded);
    let renewed = Record { status_ttl: SHORT, result_ttl: SHORT, ..fixture::record(State::Retrying) };
    let renewal = fixture::record_of(&renewed.id, Token(2), State::Succeeded);
    save(&backend, &[short.clone(), long.clone(), renewed, renewal.clone()]).await;
    eventually("the record ends", PATIENCE, || async { load(&backend, &short.id).await.is_none().then_some(()) }).await;
    pass(millis(100)).await;
    assert_eq!(load(&backend, &long.id).await, Some(stripped(&long)));
    assert_eq!(load(&backend, &renewal.id).await, Some(stripped(&renewal)));
}

/// A result can end before its record; the state is still known.
pub async fn a_result_can_end_before_its_state(backend: Arc<dyn Backend>) {
    let record = Record { result_ttl: SHORT, ..fixture::record(State::Succeeded) };
    save(&backend, std::slice::from_ref(&record)).await;
    let left = eventually("the result ends", PATIENCE, || async {
        load(&backend, &record.id).await.filter(|record| record.result.is_none())
    });
    let expected = Record { result: None, ..stripped(&record) };
    assert_eq!(left.await, expected);
}

/// A result that is not to be kept is not there, and its state is.
pub async fn a_result_need_not_be_kept(backend: Arc<dyn Backend>) {
    let record = Record { result_ttl: Retention::None, ..fixture::record(State::Succeeded) };
    save(&backend, std::slice::from_ref(&record)).await;
    let expected = Record { result: None, ..stripped(&record) };
    assert_eq!(load(&backend, &record.id).await, Some(expected));
}

/// What is kept for ever is kept.
pub async fn for_ever_is_a_retention(backend: Arc<dyn Backend>) {
    let forever = Retention::Forever;
    let record = Record { status_ttl: forever, result_ttl: forever, ..fixture::record(State::Succeeded) };
    save(&backend, std::slice::from_ref(&record)).await;
    assert_eq!(load(&backend, &record.id).await, Some(stripped(&record)));
    backend.forget(&[record.id]).await.expect("forget answers");
}

/// A final state that is not to be kept is told to who waits, with its result, and is not there.
pub async fn what_is_not_kept_is_told_to_who_waits(backend: Arc<dyn Backend>) {
    let none = Retention::None;
    let record = Record { status_ttl: none, result_ttl: none, ..fixture::record(State::Succeeded) };
    let waiting = backend.wait(&record.id, Duration::from_secs(60));
    // Nobody can tell from outside when the other one waits, so it is saved until it was told.
    let saving = async {
        loop {
            save(&backend, std::slice::from_ref(&record)).await;
            pass(millis(50)).await;
        }
    };
    let told = tokio::select! {
        told = timeout(PATIENCE, waiting) => told.expect("the waiter is told").expect("wait answers"),
        () = saving => None,
    };
    assert_eq!(told.as_ref().map(stripped), Some(stripped(&record)));
    assert_eq!(load(&backend, &record.id).await, None);
}

/// A final state that is not to be kept takes away what an earlier state left.
pub async fn what_is_not_kept_leaves_no_earlier_state(backend: Arc<dyn Backend>) {
    let retrying = fixture::record(State::Retrying);
    let none = Retention::None;
    let token = Token(2);
    let done =
        Record { status_ttl: none, result_ttl: none, ..fixture::record_of(&retrying.id, token, State::Succeeded) };
    save(&backend, &[retrying]).await;
    save(&backend, std::slice::from_ref(&done)).await;
    assert_eq!(load(&backend, &done.id).await, None);
}

/// A write that is not to be kept is guarded, too.
pub async fn what_is_not_kept_is_guarded(backend: Arc<dyn Backend>) {
    let stored = fixture::record_of(&fixture::task_id(), Token(5), State::Retrying);
    let none = Retention::None;
    let old =
        Record { status_ttl: none, result_ttl: none, ..fixture::record_of(&stored.id, Token(4), State::Succeeded) };
    save(&backend, std::slice::from_ref(&stored)).await;
    assert_eq!(outcomes(&backend, &[old]).await, [SaveOutcome::Refused]);
    assert_eq!(load(&backend, &stored.id).await, Some(stripped(&stored)));
}
