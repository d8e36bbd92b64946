//! Guarded writes: what may take the place of what.

use std::sync::Arc;

use tokio::task::JoinSet;
use windlass_core::{Backend, Record, SaveOutcome, State, Token};

use super::{load, load_all, outcomes, save, stripped};
use crate::fixture;

/// The store decides as `Record::replaces` does, and keeps or replaces the whole record.
///
/// Shown with every pair of states under an older, the same and a newer token.
pub async fn writes_are_guarded_as_the_rule_says(backend: Arc<dyn Backend>) {
    let mut pairs = Vec::new();
    for stored in State::ALL {
        for new in State::ALL {
            for token in [4, 5, 6] {
                let stored = fixture::record_of(&fixture::task_id(), Token(5), stored);
                // Another attempt, so that the two can be told apart.
                let new = Record { attempt: 2, ..fixture::record_of(&stored.id, Token(token), new) };
                pairs.push((stored, new));
            }
        }
    }
    let (stored, new): (Vec<Record>, Vec<Record>) = pairs.into_iter().unzip();
    save(&backend, &stored).await;
    let outcomes = outcomes(&backend, &new).await;
    let ids: Vec<_> = stored.iter().map(|record| record.id.clone()).collect();
    let loaded = load_all(&backend, &ids).await;
    for (((stored, new), outcome), loaded) in stored.iter().zip(&new).zip(outcomes).zip(loaded) {
        let case = format!("{} under {} over {} under {}", new.state, new.token, stored.state, stored.token);
        let (expected, kept) =
            if new.replaces(stored) { (SaveOutcome::Saved, new) } else { (SaveOutcome::Refused, stored) };
        assert_eq!(outcome, expected, "{case}");
        assert_eq!(loaded, Some(stripped(kept)), "{case}");
    }
}

/// Saving the same record again is harmless and answered as the first time.
pub async fn saving_again_is_harmless(backend: Arc<dyn Backend>) {
    for state in State::ALL {
        let record = fixture::record(state);
        for _ in 0..3 {
            save(&backend, std::slice::from_ref(&record)).await;
        }
        assert_eq!(load(&backend, &record.id).await, Some(stripped(&record)));
    }
}

/// The records of one task in one call are taken in their order.
pub async fn one_call_can_hold_a_task_twice(backend: Arc<dyn Backend>) {
    let id = fixture::task_id();
    let record = |token, state| fixture::record_of(&id, Token(token), state);
    let records = [
        record(1, State::Retrying),
        record(2, State::Running),
        fixture::record(State::Succeeded),
        record(2, State::Succeeded),
        record(1, State::Failed),
    ];
    use SaveOutcome::{Refused, Saved};
    assert_eq!(outcomes(&backend, &records).await, [Saved, Saved, Saved, Saved, Refused]);
    assert_eq!(load(&backend, &id).await, Some(stripped(&records[3])));
}

/// Of many writers at once, the latest claim wins.
pub async fn of_many_writers_the_latest_claim_wins(backend: Arc<dyn Backend>) {
    let id = fixture::task_id();
    let mut writers = JoinSet::new();
    let mut tokens: Vec<u64> = (1..=40).collect();
    fastrand::shuffle(&mut tokens);
    for token in tokens {
        let (backend, record) = (Arc::clone(&backend), fixture::record_of(&id, Token(token), State::Retrying));
        writers.spawn(async move { (token, outcomes(&backend, &[record]).await[0]) });
    }
    let outcomes = writers.join_all().await;
    let latest = load(&backend, &id).await.expect("something was saved");
    assert_eq!(latest.token, Token(40));
    assert!(outcomes.contains(&(40, SaveOutcome::Saved)), "{outcomes:?}");
}

/// Of many that end a task at once, exactly one state is final, whoever comes later.
pub async fn a_task_ends_once(backend: Arc<dyn Backend>) {
    let id = fixture::task_id();
    let mut writers = JoinSet::new();
    for token in 1..=20 {
        let state = if token % 2 == 0 { State::Succeeded } else { State::Cancelled };
        let (backend, record) = (Arc::clone(&backend), fixture::record_of(&id, Token(token), state));
        writers.spawn(async move { (record.clone(), outcomes(&backend, &[record]).await[0]) });
    }
    let outcomes = writers.join_all().await;
    let saved: Vec<&Record> =
        outcomes.iter().filter(|(_, outcome)| *outcome == SaveOutcome::Saved).map(|(record, _)| record).collect();
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert_eq!(load(&backend, &id).await, Some(stripped(saved[0])));
}
