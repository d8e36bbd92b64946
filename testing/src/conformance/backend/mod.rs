//! What every [`Backend`] guarantees.

mod close;
mod guard;
mod load;
mod retention;
mod save;
mod wait;

use std::sync::Arc;

use windlass_core::{Backend, Record, Retention, SaveOutcome, TaskId};

pub use close::*;
pub use guard::*;
pub use load::*;
pub use retention::*;
pub use save::*;
pub use wait::*;

/// Hands the name of every guarantee to a macro: `backend_guarantees!([some::macro] { arguments })`
/// becomes `some::macro! { { arguments } name name … }`.
#[doc(hidden)]
#[macro_export]
macro_rules! backend_guarantees {
    ([$($then:tt)*] { $($arguments:tt)* }) => {
        $($then)*! {
            { $($arguments)* }
            every_state_comes_back
            a_binary_result_comes_back_unchanged
            an_empty_result_comes_back
            a_large_result_comes_back
            a_failure_comes_back_with_its_causes
            large_numbers_come_back
            an_id_of_the_caller_comes_back
            a_later_state_takes_the_place_of_an_earlier_one
            answers_are_in_the_order_of_the_ids
            nothing_is_answered_with_nothing
            what_is_forgotten_is_gone
            writes_are_guarded_as_the_rule_says
            saving_again_is_harmless
            one_call_can_hold_a_task_twice
            of_many_writers_the_latest_claim_wins
            a_task_ends_once
            a_record_ends_with_its_retention
            a_result_can_end_before_its_state
            a_result_need_not_be_kept
            for_ever_is_a_retention
            what_is_not_kept_is_told_to_who_waits
            what_is_not_kept_leaves_no_earlier_state
            what_is_not_kept_is_guarded
            a_waiter_is_told
            a_task_that_has_ended_is_answered_at_once
            waiting_for_an_end_ends_after_its_time
            only_an_end_ends_the_wait
            a_refused_write_is_not_told
            many_can_wait_for_one_task
            one_can_wait_for_many_tasks
            a_dropped_wait_disturbs_nobody
            a_thousand_records_in_one_call
            concurrent_calls_get_their_own_answers
            after_close_every_call_is_refused
            closing_ends_the_wait_for_a_task
        }
    };
}

type Adapter = Arc<dyn Backend>;

async fn outcomes(backend: &Adapter, records: &[Record]) -> Vec<SaveOutcome> {
    let outcomes = backend.save(records).await.expect("save answers");
    assert_eq!(outcomes.len(), records.len(), "one answer for each record");
    outcomes
}

/// Saves; every record must be stored.
async fn save(backend: &Adapter, records: &[Record]) {
    let outcomes = outcomes(backend, records).await;
    for (record, outcome) in records.iter().zip(outcomes) {
        assert_eq!(outcome, SaveOutcome::Saved, "{record:?}");
    }
}

async fn load_all(backend: &Adapter, ids: &[TaskId]) -> Vec<Option<Record>> {
    let records = backend.load(ids).await.expect("load answers");
    assert_eq!(records.len(), ids.len(), "one answer for each id");
    records.into_iter().map(|record| record.as_ref().map(stripped)).collect()
}

async fn load(backend: &Adapter, id: &TaskId) -> Option<Record> {
    load_all(backend, std::slice::from_ref(id)).await.remove(0)
}

/// The record without its retentions, which a store need not give back.
fn stripped(record: &Record) -> Record {
    Record { status_ttl: Retention::Forever, result_ttl: Retention::Forever, ..record.clone() }
}
