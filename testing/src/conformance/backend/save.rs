//! What is saved can be read, as it was.

use std::sync::Arc;

use bytes::Bytes;
use windlass_core::{Backend, Failure, FailureKind, Record, State};

use super::{load, load_all, save, stripped};
use crate::fixture;

async fn comes_back(backend: &Arc<dyn Backend>, record: Record) {
    save(backend, std::slice::from_ref(&record)).await;
    assert_eq!(load(backend, &record.id).await, Some(stripped(&record)));
}

/// A record of every state can be saved and read.
pub async fn every_state_comes_back(backend: Arc<dyn Backend>) {
    let records = State::ALL.map(fixture::record);
    save(&backend, &records).await;
    let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    let loaded: Vec<Record> = load_all(&backend, &ids).await.into_iter().flatten().collect();
    assert_eq!(loaded, records.each_ref().map(stripped));
}

/// Results are bytes and come back bit by bit.
pub async fn a_binary_result_comes_back_unchanged(backend: Arc<dyn Backend>) {
    let result = Some(fixture::binary());
    comes_back(&backend, Record { result, ..fixture::record(State::Succeeded) }).await;
}

/// An empty result is a result.
pub async fn an_empty_result_comes_back(backend: Arc<dyn Backend>) {
    comes_back(&backend, Record { result: Some(Bytes::new()), ..fixture::record(State::Succeeded) }).await;
}

/// A result of 1 MiB comes back.
pub async fn a_large_result_comes_back(backend: Arc<dyn Backend>) {
    let result: Vec<u8> =
        (0..1_048_576_u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    comes_back(&backend, Record { result: Some(result.into()), ..fixture::record(State::Succeeded) }).await;
}

/// A failure comes back with its causes, its place and every character.
pub async fn a_failure_comes_back_with_its_causes(backend: Arc<dyn Backend>) {
    let failure = Failure {
        causes: vec!["the nearest: \"quoted\"\n\t\0".to_owned(), "Gödel 日本 \u{1F980}".to_owned()],
        location: Some("src/main.rs:7:13".to_owned()),
        ..Failure::new(FailureKind::Panic, "x".repeat(4_000), 3)
    };
    comes_back(&backend, Record { failure: Some(failure), attempt: 3, ..fixture::record(State::Failed) }).await;
}

/// Numbers at their limits come back.
pub async fn large_numbers_come_back(backend: Arc<dyn Backend>) {
    let token = windlass_core::Token(u64::try_from(i64::MAX).expect("it is positive"));
    comes_back(&backend, Record { token, attempt: u32::MAX, ..fixture::record(State::Succeeded) }).await;
}

/// An id may be a text that the caller chose.
pub async fn an_id_of_the_caller_comes_back(backend: Arc<dyn Backend>) {
    let id = format!("invoice:2026-11_{}", fastrand::u64(..)).parse().expect("a valid id");
    comes_back(&backend, Record { id, ..fixture::record(State::Succeeded) }).await;
}

/// A later state takes the place of an earlier one, with all that belongs to it.
pub async fn a_later_state_takes_the_place_of_an_earlier_one(backend: Arc<dyn Backend>) {
    let retrying = fixture::record(State::Retrying);
    comes_back(&backend, retrying.clone()).await;
    let token = windlass_core::Token(2);
    comes_back(&backend, Record { token, attempt: 2, ..fixture::record_of(&retrying.id, token, State::Succeeded) })
        .await;
}

/// Answers are in the order of the ids; what is not there is `None`; an id may be asked for twice.
pub async fn answers_are_in_the_order_of_the_ids(backend: Arc<dyn Backend>) {
    let [one, two] = [fixture::record(State::Succeeded), fixture::record(State::Failed)];
    save(&backend, &[two.clone(), one.clone()]).await;
    let ids = [fixture::task_id(), one.id.clone(), fixture::task_id(), two.id.clone(), one.id.clone()];
    let (one, two) = (Some(stripped(&one)), Some(stripped(&two)));
    assert_eq!(load_all(&backend, &ids).await, [None, one.clone(), None, two, one]);
}

/// Nothing in, nothing out.
pub async fn nothing_is_answered_with_nothing(backend: Arc<dyn Backend>) {
    save(&backend, &[]).await;
    assert!(load_all(&backend, &[]).await.is_empty());
    backend.forget(&[]).await.expect("forget answers");
}

/// What is forgotten is gone, and its id can be saved again, with any token.
pub async fn what_is_forgotten_is_gone(backend: Arc<dyn Backend>) {
    let records = [fixture::record(State::Succeeded), fixture::record(State::Failed), fixture::record(State::Running)];
    save(&backend, &records).await;
    let [gone, kept, gone_too] = records.each_ref().map(|record| record.id.clone());
    backend.forget(&[gone.clone(), fixture::task_id(), gone_too.clone()]).await.expect("forget answers");
    assert_eq!(load(&backend, &gone).await, None);
    assert_eq!(load(&backend, &gone_too).await, None);
    assert_eq!(load(&backend, &kept).await, Some(stripped(&records[1])));
    comes_back(&backend, fixture::record_of(&gone, windlass_core::Token(0), State::Running)).await;
}
