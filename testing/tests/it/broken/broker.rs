//! Which guarantees see which defect of a broker.

use super::broker_defects::Broken;
use super::{checks, must_fail};

/// What a broken broker does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    Sound,
    AcknowledgesAtFetch,
    AcknowledgesById,
    BlocksInFetch,
    CancelsNothing,
    ChangesIds,
    ClosesNothing,
    ClosesTheStore,
    CountsLossesAsFailures,
    CountsNoLosses,
    CountsReleases,
    CutsPayloads,
    DeafAfterReconnect,
    DeliversEarly,
    DeliversTwice,
    DiscardsAnything,
    DropsTheNewest,
    DropsUndecodable,
    DropsWhatComesBack,
    ErrsOnNothing,
    ExtendsNothing,
    ExtendsOnOneRuntime,
    ForgetsEdits,
    ForgetsIds,
    ForgetsOnReconnect,
    ForgetsOptions,
    ForgetsReasons,
    ForgetsRetryLimits,
    GivesClaimsBack,
    IgnoresLease,
    IgnoresMax,
    IgnoresPriority,
    IgnoresQueueLimits,
    IgnoresReserves,
    KeepsDeadLettersAtHome,
    KeepsToItself,
    LastInFirstOut,
    LeavesDeadLettersOut,
    LocatesNothing,
    LosesDelayed,
    LosesOneOfABatch,
    LosesUnknownFields,
    NeverReconnects,
    NeverWakes,
    NoFencing,
    NoLimit,
    OneQueueForAll,
    PopsForWhoIsGone,
    PretendsToRefuse,
    PretendsToTake,
    ReadsPayloads,
    ReencodesPayloads,
    RefusesWholeBatches,
    RemembersForEver,
    ReplaysAnything,
    RequeuesAtTheHead,
    RetriesAtOnce,
    ReusesTokens,
    RoundsTimes,
    ShiftsAnswers,
    SmallCounts,
    WaitsForEver,
    WakesEverybody,
}

windlass_testing::broker_guarantees!([checks] { broker Broken Defect });

must_fail! {
    of_a_broker, Defect:

    // Messages and payloads.
    cut_payloads_are_seen: CutsPayloads => a_large_payload_arrives the_largest_payload_arrives;
    changed_payloads_are_seen: ReencodesPayloads => a_binary_payload_arrives_unchanged a_dead_letter_is_listed_complete;
    payloads_that_are_read_are_seen: ReadsPayloads => numbers_are_not_rounded an_empty_payload_arrives;
    rounded_times_are_seen: RoundsTimes => a_message_arrives;
    changed_ids_are_seen: ChangesIds => an_id_of_the_caller_arrives;
    lost_options_are_seen: ForgetsOptions => options_and_headers_arrive every_priority_arrives;
    lost_fields_are_seen: LosesUnknownFields => unknown_fields_arrive;
    dropped_bytes_are_seen: DropsUndecodable =>
        bytes_that_are_no_message_are_delivered_as_such bytes_that_are_no_message_can_be_put_back
        a_dead_letter_that_is_no_message_keeps_its_bytes;
    a_missing_limit_is_seen: NoLimit => a_payload_above_the_limit_is_refused_alone;
    a_refused_batch_is_seen: RefusesWholeBatches => a_payload_above_the_limit_is_refused_alone;
    mixed_queues_are_seen: OneQueueForAll => queues_are_separate;
    errors_about_nothing_are_seen: ErrsOnNothing =>
        publishing_nothing_is_nothing settling_nothing_is_nothing without_dead_letters_the_page_is_empty;

    // Order, number, waiting.
    wrong_order_is_seen: LastInFirstOut =>
        first_in_first_out at_most_max_are_claimed a_release_goes_to_the_head_uncounted
        a_lease_that_ran_out_redelivers_at_the_head a_requeue_goes_to_the_end
        within_a_priority_the_oldest_comes_first;
    shifted_answers_are_seen: ShiftsAnswers =>
        a_mixed_batch_is_answered_in_its_order answers_are_in_the_order_of_the_batch;
    deliveries_beyond_max_are_seen: IgnoresMax => at_most_max_are_claimed;
    a_fetch_that_waits_is_seen: BlocksInFetch => an_empty_queue_answers_at_once;
    losing_one_of_a_batch_is_seen: LosesOneOfABatch =>
        a_thousand_in_one_call first_in_first_out many_consumers_get_each_message_once many_publishers_lose_nothing;
    double_delivery_is_seen: DeliversTwice =>
        many_consumers_get_each_message_once consumers_of_two_instances_get_each_message_once;
    a_sleeping_waiter_is_seen: NeverWakes =>
        a_waiter_is_woken_by_a_message a_waiting_message_is_told_at_once closing_ends_a_wait
        a_waiter_is_woken_by_another_instance;
    endless_waiting_is_seen: WaitsForEver => waiting_ends_after_its_time;
    a_stampede_is_seen: WakesEverybody => one_message_does_not_wake_everybody;
    a_wait_that_takes_is_seen: PopsForWhoIsGone => a_dropped_wait_takes_nothing;
    ignored_priorities_are_seen: IgnoresPriority =>
        the_most_urgent_comes_first an_urgent_message_overtakes_what_waits a_delayed_message_keeps_its_priority
        a_retry_keeps_its_priority a_release_goes_to_the_head_of_its_priority a_lost_lease_keeps_the_priority
        a_replayed_dead_letter_keeps_its_priority;

    ignored_reserves_are_seen: IgnoresReserves =>
        kept_places_go_to_the_less_urgent kept_places_that_nobody_needs_are_used
        kept_places_beyond_max_go_to_the_most_urgent kept_places_change_no_order;

    // Full queues.
    ignored_limits_are_seen: IgnoresQueueLimits =>
        a_full_queue_refuses_what_is_more delayed_messages_count_for_the_limit a_claimed_message_makes_room
        a_duplicate_is_one_in_a_full_queue a_full_queue_drops_its_oldest a_full_queue_is_full_for_all_instances;
    lies_about_full_queues_are_seen: PretendsToTake => a_full_queue_refuses_what_is_more many_publishers_fill_a_queue;
    what_is_dropped_on_its_way_back_is_seen: DropsWhatComesBack => what_comes_back_finds_room;
    dropping_the_wrong_one_is_seen: DropsTheNewest =>
        a_full_queue_drops_its_oldest what_is_dropped_is_a_dead_letter the_least_urgent_is_dropped_first;

    // Delays and settlements.
    lost_delayed_messages_are_seen: LosesDelayed =>
        a_delay_is_kept a_point_in_time_is_kept a_time_that_has_passed_is_now
        what_waits_for_its_time_is_found_with_its_time what_waits_for_its_time_can_be_cancelled
        a_delay_outlives_its_publisher;
    early_delivery_is_seen: DeliversEarly =>
        a_delay_is_kept a_point_in_time_is_kept a_delayed_message_holds_up_nobody
        delayed_messages_come_in_the_order_of_their_times;
    early_retries_are_seen: RetriesAtOnce => a_retry_waits_and_keeps_its_counts;
    requeues_at_the_head_are_seen: RequeuesAtTheHead => a_requeue_goes_to_the_end;
    counted_releases_are_seen: CountsReleases => a_release_goes_to_the_head_uncounted;
    acknowledging_at_fetch_is_seen: AcknowledgesAtFetch =>
        a_lease_that_ran_out_redelivers_at_the_head acknowledging_removes a_retry_waits_and_keeps_its_counts
        a_lost_instance_leaves_its_claims;
    acknowledging_by_id_is_seen: AcknowledgesById => acknowledging_twice_is_harmless a_settled_claim_is_over;

    // Claims.
    ignored_leases_are_seen: IgnoresLease => a_claim_is_exclusive a_claim_holds_against_other_instances;
    pretended_extensions_are_seen: ExtendsNothing =>
        an_extended_claim_is_kept an_extension_counts_from_now many_claims_are_extended_in_one_call
        a_settled_claim_is_over;
    extending_on_a_blocked_runtime_is_seen: ExtendsOnOneRuntime => extending_works_while_the_runtime_is_blocked;
    missing_fencing_is_seen: NoFencing =>
        an_old_claim_settles_nothing an_old_claim_extends_nothing a_claim_taken_over_settles_nothing;
    tokens_used_again_are_seen: ReusesTokens => tokens_grow tokens_grow_with_a_lost_lease tokens_grow_across_instances;
    uncounted_losses_are_seen: CountsNoLosses =>
        a_lease_that_ran_out_redelivers_at_the_head losses_add_up a_lost_batch_comes_back_in_its_order
        a_lost_instance_leaves_its_claims;
    losses_counted_as_failures_are_seen: CountsLossesAsFailures => losses_and_failures_are_counted_apart losses_add_up;
    lost_retry_limits_are_seen: ForgetsRetryLimits =>
        a_number_of_retries_of_its_own_is_kept a_number_of_retries_of_its_own_outlives_a_lost_lease;
    small_counts_are_seen: SmallCounts => large_counts_come_back a_dead_letter_shows_its_counts;

    // Dead letters and identity.
    missing_dead_letters_are_seen: LeavesDeadLettersOut => pages_show_every_dead_letter_once;
    missing_reasons_are_seen: ForgetsReasons => a_dead_letter_is_listed_complete;
    wrong_replays_are_seen: ReplaysAnything => a_replayed_dead_letter_runs_again only_dead_letters_are_replayed;
    lost_edits_are_seen: ForgetsEdits =>
        an_edited_dead_letter_runs_in_its_place an_edited_dead_letter_has_its_new_priority
        an_edited_dead_letter_is_checked;
    wrong_discards_are_seen: DiscardsAnything => a_discarded_dead_letter_is_gone only_dead_letters_are_discarded;
    private_dead_letters_are_seen: KeepsDeadLettersAtHome => dead_letters_belong_to_all_instances;
    forgotten_ids_are_seen: ForgetsIds =>
        an_id_is_taken_while_its_task_is_there an_id_is_taken_while_its_task_is_delayed one_call_can_hold_an_id_twice
        an_id_published_by_many_at_once_is_one_task an_id_is_remembered_after_the_end
        an_id_is_taken_for_all_instances;
    endless_memory_is_seen: RemembersForEver =>
        an_id_is_remembered_after_the_end an_id_that_is_not_remembered_is_free_at_once;
    missing_places_are_seen: LocatesNothing => a_message_is_found_wherever_it_is;
    pretended_cancels_are_seen: CancelsNothing =>
        a_waiting_message_can_be_cancelled what_waits_for_its_time_can_be_cancelled a_running_message_is_not_cancelled
        only_what_waits_is_cancelled;
    more_than_was_offered_is_seen: PretendsToRefuse => what_is_not_offered_is_refused;

    // The end, several instances, connections.
    a_missing_end_is_seen: ClosesNothing => after_close_everything_is_closed closing_ends_a_wait;
    an_end_for_all_is_seen: ClosesTheStore => closing_one_instance_leaves_the_others a_delay_outlives_its_publisher;
    a_store_of_its_own_is_seen: KeepsToItself =>
        what_one_has_not_fetched_the_others_get a_waiter_is_woken_by_another_instance an_id_is_taken_for_all_instances;
    forgetting_on_reconnect_is_seen: ForgetsOnReconnect => nothing_accepted_is_lost_with_a_connection;
    a_connection_lost_for_ever_is_seen: NeverReconnects =>
        nothing_accepted_is_lost_with_a_connection publishing_goes_on_after_a_lost_connection
        a_waiter_outlives_a_lost_connection a_leased_claim_outlives_its_connection;
    deafness_after_reconnect_is_seen: DeafAfterReconnect => a_waiter_outlives_a_lost_connection;
    claims_lost_on_reconnect_are_seen: GivesClaimsBack => a_leased_claim_outlives_its_connection;
}
