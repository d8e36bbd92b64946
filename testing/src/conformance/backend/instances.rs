//! Several instances of an adapter over one store, as several processes have them.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;
use windlass_core::{Backend, ErrorKind, SaveOutcome, State, Token};

use super::wait::is_told;
use super::{load, outcomes, save, stripped};
use crate::conformance::{PATIENCE, millis, pass};
use crate::fixture;

/// What one instance saves, another one loads.
pub async fn what_one_instance_saves_another_loads(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let record = fixture::record(State::Succeeded);
    save(&one, std::slice::from_ref(&record)).await;
    assert_eq!(load(&other, &record.id).await, Some(stripped(&record)));
    other.forget(std::slice::from_ref(&record.id)).await.expect("forget answers");
    assert_eq!(load(&one, &record.id).await, None);
}

/// Who waits on one instance is told of an end that another one saves.
pub async fn a_waiter_is_told_by_another_instance(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    is_told(&other, &one, State::Succeeded).await;
    is_told(&one, &other, State::Failed).await;
}

/// Of many writers on two instances, the latest claim wins.
pub async fn of_writers_on_two_instances_the_latest_wins(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let id = fixture::task_id();
    let mut tokens: Vec<u64> = (1..=40).collect();
    fastrand::shuffle(&mut tokens);
    let mut writers = JoinSet::new();
    for token in tokens {
        let backend = Arc::clone(if token % 2 == 0 { &one } else { &other });
        let record = fixture::record_of(&id, Token(token), State::Retrying);
        writers.spawn(async move { (token, outcomes(&backend, &[record]).await[0]) });
    }
    let outcomes = writers.join_all().await;
    assert_eq!(load(&one, &id).await.expect("something was saved").token, Token(40));
    assert!(outcomes.contains(&(40, SaveOutcome::Saved)), "{outcomes:?}");
}

/// Closing an instance ends its own waits and leaves the others alone.
pub async fn closing_an_instance_leaves_the_others(one: Arc<dyn Backend>, other: Arc<dyn Backend>) {
    let record = fixture::record(State::Succeeded);
    let span = PATIENCE * 2;
    let closing = async {
        pass(millis(100)).await;
        one.close().await;
    };
    let closed = async {
        let ended = timeout(PATIENCE, one.wait(&record.id, span)).await;
        save(&other, std::slice::from_ref(&record)).await;
        ended.expect("the wait ends with its instance").expect_err("the instance is closed")
    };
    let ((), closed, told) = tokio::join!(closing, closed, timeout(PATIENCE, other.wait(&record.id, span)));
    assert_eq!(closed.kind(), ErrorKind::Closed, "{closed}");
    let told = told.expect("the other wait is told").expect("wait answers");
    assert_eq!(told.as_ref().map(stripped), Some(stripped(&record)));
}
