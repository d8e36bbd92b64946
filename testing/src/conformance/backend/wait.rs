//! Waiting for the end of a task.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use windlass_core::{Backend, Record, State, TaskId, Token};

use super::{save, stripped};
use crate::conformance::{PATIENCE, millis, pass};
use crate::fixture;

const LONG: Duration = Duration::from_secs(60);

async fn wait(backend: &Arc<dyn Backend>, id: &TaskId, span: Duration) -> Option<Record> {
    let told = timeout(span + PATIENCE, backend.wait(id, span)).await;
    told.expect("waiting ends with its time").expect("wait answers").as_ref().map(stripped)
}

/// Whoever waits is told when the task ends, in every way that it can end.
pub async fn a_waiter_is_told(backend: Arc<dyn Backend>) {
    for state in State::ALL.into_iter().filter(|state| state.is_final()) {
        is_told(&backend, &backend, state).await;
    }
}

/// Who waits at one of them is told of an end that the other saves, in time.
pub(super) async fn is_told(waiting: &Arc<dyn Backend>, saving: &Arc<dyn Backend>, end: State) {
    let record = fixture::record(end);
    let save = async {
        // Long enough that the other one waits; if it does not yet, the test is weaker, not wrong.
        pass(millis(100)).await;
        save(saving, std::slice::from_ref(&record)).await;
        Instant::now()
    };
    let wait = async { (wait(waiting, &record.id, LONG).await, Instant::now()) };
    let (saved, (told, ended)) = tokio::join!(save, wait);
    assert_eq!(told, Some(stripped(&record)));
    assert!(ended.duration_since(saved) < Duration::from_secs(6), "told after {:?}", ended.duration_since(saved));
}

/// A store that wakes who waits does so at once, not at the next look.
pub async fn a_waiter_is_woken_at_once(backend: Arc<dyn Backend>) {
    let mut delays = Vec::new();
    for _ in 0..5 {
        let record = fixture::record(State::Succeeded);
        let saving = async {
            // No multiple of anything, so that who only looks now and then is late at least sometimes.
            pass(millis(fastrand::u64(100..500))).await;
            save(&backend, std::slice::from_ref(&record)).await;
            Instant::now()
        };
        let waiting = async { (wait(&backend, &record.id, LONG).await, Instant::now()) };
        let (saved, (told, end)) = tokio::join!(saving, waiting);
        assert_eq!(told, Some(stripped(&record)));
        delays.push(end.saturating_duration_since(saved));
    }
    delays.sort();
    assert!(delays[2] < millis(500), "told this long after the end: {delays:?}");
}

/// A task that has ended already is answered at once.
pub async fn a_task_that_has_ended_is_answered_at_once(backend: Arc<dyn Backend>) {
    let record = fixture::record(State::Failed);
    save(&backend, std::slice::from_ref(&record)).await;
    let start = Instant::now();
    assert_eq!(wait(&backend, &record.id, LONG).await, Some(stripped(&record)));
    assert!(start.elapsed() < Duration::from_secs(4), "it took {:?}", start.elapsed());
}

/// Without an end, waiting ends after its time.
pub async fn waiting_for_an_end_ends_after_its_time(backend: Arc<dyn Backend>) {
    let start = Instant::now();
    assert_eq!(wait(&backend, &fixture::task_id(), millis(300)).await, None);
    assert!(start.elapsed() >= millis(290), "it took only {:?}", start.elapsed());
}

/// What is not the end does not end the wait.
pub async fn only_an_end_ends_the_wait(backend: Arc<dyn Backend>) {
    let id = fixture::task_id();
    let saving = async {
        for (number, state) in
            [State::Queued, State::Running, State::Retrying, State::Scheduled].into_iter().enumerate()
        {
            let token = Token(u64::try_from(number).expect("a small number"));
            save(&backend, &[fixture::record_of(&id, token, state)]).await;
            pass(millis(50)).await;
        }
    };
    let (told, ()) = tokio::join!(wait(&backend, &id, millis(600)), saving);
    assert_eq!(told, None);
    let end = fixture::record_of(&id, Token(9), State::Succeeded);
    let (told, ()) = tokio::join!(wait(&backend, &id, LONG), save(&backend, std::slice::from_ref(&end)));
    assert_eq!(told, Some(stripped(&end)));
}

/// A result that is refused is not told.
pub async fn a_refused_write_is_not_told(backend: Arc<dyn Backend>) {
    let stored = fixture::record_of(&fixture::task_id(), Token(5), State::Retrying);
    save(&backend, std::slice::from_ref(&stored)).await;
    let old = fixture::record_of(&stored.id, Token(4), State::Succeeded);
    let saving = async {
        pass(millis(100)).await;
        super::outcomes(&backend, &[old]).await
    };
    let (told, outcomes) = tokio::join!(wait(&backend, &stored.id, millis(500)), saving);
    assert_eq!((told, outcomes), (None, vec![windlass_core::SaveOutcome::Refused]));
}

/// A hundred can wait for one task.
pub async fn many_can_wait_for_one_task(backend: Arc<dyn Backend>) {
    let record = fixture::record(State::Succeeded);
    let mut waiters = JoinSet::new();
    for _ in 0..100 {
        let (backend, id) = (Arc::clone(&backend), record.id.clone());
        waiters.spawn(async move { wait(&backend, &id, LONG).await });
    }
    pass(millis(100)).await;
    save(&backend, std::slice::from_ref(&record)).await;
    let told = timeout(PATIENCE, waiters.join_all()).await.expect("all are told");
    assert!(told.iter().all(|told| *told == Some(stripped(&record))), "{told:?}");
}

/// One process can wait for five hundred tasks; each waiter is told its own end.
pub async fn one_can_wait_for_many_tasks(backend: Arc<dyn Backend>) {
    let records: Vec<Record> = (0..500_u32)
        .map(|number| Record { result: Some(number.to_string().into()), ..fixture::record(State::Succeeded) })
        .collect();
    let mut waiters = JoinSet::new();
    for record in &records {
        let (backend, record) = (Arc::clone(&backend), record.clone());
        waiters.spawn(async move { wait(&backend, &record.id, LONG).await == Some(stripped(&record)) });
    }
    pass(millis(100)).await;
    for batch in records.chunks(50) {
        save(&backend, batch).await;
    }
    let told = timeout(PATIENCE, waiters.join_all()).await.expect("all are told");
    assert_eq!(told.iter().filter(|own| **own).count(), 500);
}

/// A wait that is dropped disturbs nobody who waits for the same task.
pub async fn a_dropped_wait_disturbs_nobody(backend: Arc<dyn Backend>) {
    let record = fixture::record(State::Succeeded);
    let script = async {
        for _ in 0..5 {
            // It ends because its time is over; that is the drop.
            let _ = timeout(millis(30), backend.wait(&record.id, LONG)).await;
        }
        save(&backend, std::slice::from_ref(&record)).await;
    };
    let (told, ()) = tokio::join!(wait(&backend, &record.id, LONG), script);
    assert_eq!(told, Some(stripped(&record)));
}
