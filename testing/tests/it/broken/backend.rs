//! Which guarantees see which defect of a backend.

use super::backend_defects::Broken;
use super::{checks, must_fail};

/// What a broken backend does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    Sound,
    AnswersEarly,
    AnswersInAnyOrder,
    ChangesIds,
    ClosesNothing,
    ClosesTheStore,
    CutsResults,
    DroppedWaitDeafens,
    EmptyIsNone,
    ErrsOnNothing,
    EvictsTheOldest,
    FirstWins,
    ForgetsCauses,
    ForgetsNothing,
    ForeverIsNever,
    GuardsBackwards,
    KeepsForEver,
    KeepsOnlyEnds,
    KeepsToItself,
    LosesOneOfABatch,
    NeverPolls,
    NeverReconnects,
    NoGuard,
    PollsNowAndThen,
    ReencodesResults,
    RoundsNumbers,
    ShiftsAnswers,
    TellsEveryState,
    TellsNobody,
    TellsOne,
    TellsRefusedWrites,
    WaitEndsWithItsConnection,
}

windlass_testing::backend_guarantees!([checks] { backend Broken Defect });

must_fail! {
    of_a_backend, Defect:

    // Records.
    missing_states_are_seen: KeepsOnlyEnds => every_state_comes_back saving_again_is_harmless;
    changed_results_are_seen: ReencodesResults => a_binary_result_comes_back_unchanged;
    missing_empty_results_are_seen: EmptyIsNone => an_empty_result_comes_back;
    cut_results_are_seen: CutsResults => a_large_result_comes_back;
    missing_causes_are_seen: ForgetsCauses => a_failure_comes_back_with_its_causes;
    rounded_numbers_are_seen: RoundsNumbers => large_numbers_come_back;
    changed_ids_are_seen: ChangesIds => an_id_of_the_caller_comes_back;
    answers_in_any_order_are_seen: AnswersInAnyOrder =>
        answers_are_in_the_order_of_the_ids concurrent_calls_get_their_own_answers;
    errors_about_nothing_are_seen: ErrsOnNothing => nothing_is_answered_with_nothing;
    what_stays_is_seen: ForgetsNothing => what_is_forgotten_is_gone what_one_instance_saves_another_loads;
    losing_one_of_a_batch_is_seen: LosesOneOfABatch => every_state_comes_back a_thousand_records_in_one_call;
    eviction_is_seen: EvictsTheOldest => ten_thousand_records_are_kept;

    // The guard.
    missing_guards_are_seen: NoGuard =>
        writes_are_guarded_as_the_rule_says one_call_can_hold_a_task_twice a_task_ends_once
        what_is_not_kept_is_guarded;
    a_guard_for_the_first_is_seen: FirstWins =>
        a_later_state_takes_the_place_of_an_earlier_one saving_again_is_harmless;
    a_guard_that_is_backwards_is_seen: GuardsBackwards =>
        of_many_writers_the_latest_claim_wins of_writers_on_two_instances_the_latest_wins;
    shifted_outcomes_are_seen: ShiftsAnswers => one_call_can_hold_a_task_twice;

    // Retention.
    endless_records_are_seen: KeepsForEver =>
        a_record_ends_with_its_retention a_result_can_end_before_its_state a_result_need_not_be_kept
        what_is_not_kept_leaves_no_earlier_state;
    a_for_ever_that_ends_is_seen: ForeverIsNever => for_ever_is_a_retention;

    // Waiting.
    silence_is_seen: TellsNobody =>
        a_waiter_is_told a_task_that_has_ended_is_answered_at_once what_is_not_kept_is_told_to_who_waits
        one_can_wait_for_many_tasks;
    missing_polls_are_seen: NeverPolls => a_waiter_is_told a_waiter_is_told_by_another_instance;
    polls_instead_of_pushes_are_seen: PollsNowAndThen => a_waiter_is_woken_at_once;
    early_answers_are_seen: AnswersEarly => waiting_for_an_end_ends_after_its_time;
    states_told_as_ends_are_seen: TellsEveryState => only_an_end_ends_the_wait;
    told_refusals_are_seen: TellsRefusedWrites => a_refused_write_is_not_told;
    a_favoured_waiter_is_seen: TellsOne => many_can_wait_for_one_task;
    deafness_after_a_dropped_wait_is_seen: DroppedWaitDeafens => a_dropped_wait_disturbs_nobody;

    // The end, several instances, connections.
    a_missing_end_is_seen: ClosesNothing => after_close_every_call_is_refused closing_ends_the_wait_for_a_task;
    an_end_for_all_is_seen: ClosesTheStore => closing_an_instance_leaves_the_others;
    a_store_of_its_own_is_seen: KeepsToItself =>
        what_one_instance_saves_another_loads a_waiter_is_told_by_another_instance;
    a_connection_lost_for_ever_is_seen: NeverReconnects =>
        saving_goes_on_after_a_lost_connection a_wait_outlives_a_lost_connection;
    a_wait_that_ends_early_is_seen: WaitEndsWithItsConnection => a_wait_outlives_a_lost_connection;
}
