//! What every [`Broker`](windlass_core::Broker) guarantees.

mod claim;
mod close;
mod dead;
mod delay;
mod fetch;
mod identity;
mod lease;
mod load;
mod locate;
mod publish;
mod ready;
mod scene;
mod settle;

pub use claim::*;
pub use close::*;
pub use dead::*;
pub use delay::*;
pub use fetch::*;
pub use identity::*;
pub use lease::*;
pub use load::*;
pub use locate::*;
pub use publish::*;
pub use ready::*;
pub use settle::*;

/// Hands the name of every guarantee to a macro: `broker_guarantees!([some::macro] { arguments })`
/// becomes `some::macro! { { arguments } name name … }`.
#[doc(hidden)]
#[macro_export]
macro_rules! broker_guarantees {
    ([$($then:tt)*] { $($arguments:tt)* }) => {
        $($then)*! {
            { $($arguments)* }
            a_message_arrives
            a_binary_payload_arrives_unchanged
            numbers_are_not_rounded
            an_empty_payload_arrives
            a_large_payload_arrives
            options_and_headers_arrive
            unknown_fields_arrive
            an_id_of_the_caller_arrives
            queues_are_separate
            publishing_nothing_is_nothing
            bytes_that_are_no_message_are_delivered_as_such
            first_in_first_out
            answers_are_in_the_order_of_the_batch
            at_most_max_are_claimed
            an_empty_queue_answers_at_once
            a_thousand_in_one_call
            a_waiter_is_woken_by_a_message
            a_waiting_message_is_told_at_once
            waiting_ends_after_its_time
            a_dropped_wait_takes_nothing
            one_message_does_not_wake_everybody
            a_delay_is_kept
            a_point_in_time_is_kept
            a_time_that_has_passed_is_now
            a_delayed_message_holds_up_nobody
            delayed_messages_come_in_the_order_of_their_times
            acknowledging_removes
            acknowledging_twice_is_harmless
            a_retry_waits_and_keeps_its_counts
            a_requeue_goes_to_the_end
            a_release_goes_to_the_head_uncounted
            a_mixed_batch_is_answered_in_its_order
            settling_nothing_is_nothing
            a_lease_that_ran_out_redelivers_at_the_head
            losses_add_up
            a_lost_batch_comes_back_in_its_order
            a_claim_is_exclusive
            an_extended_claim_is_kept
            an_extension_counts_from_now
            many_claims_are_extended_in_one_call
            extending_works_while_the_runtime_is_blocked
            tokens_grow
            tokens_grow_with_a_lost_lease
            an_old_claim_settles_nothing
            an_old_claim_extends_nothing
            a_settled_claim_is_over
            a_dead_letter_is_listed_complete
            a_dead_letter_that_is_no_message_keeps_its_bytes
            pages_show_every_dead_letter_once
            without_dead_letters_the_page_is_empty
            a_replayed_dead_letter_runs_again
            only_dead_letters_are_replayed
            an_id_is_taken_while_its_task_is_there
            an_id_is_taken_while_its_task_is_delayed
            one_call_can_hold_an_id_twice
            an_id_published_by_many_at_once_is_one_task
            an_id_is_remembered_after_the_end
            an_id_that_is_not_remembered_is_free_at_once
            a_message_is_found_wherever_it_is
            what_waits_for_its_time_is_found_with_its_time
            a_waiting_message_can_be_cancelled
            what_waits_for_its_time_can_be_cancelled
            a_running_message_is_not_cancelled
            only_what_waits_is_cancelled
            many_consumers_get_each_message_once
            many_publishers_lose_nothing
            after_close_everything_is_closed
            closing_ends_a_wait
        }
    };
}
