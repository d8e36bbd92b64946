//! The list of all guarantees of a backend.

/// Hands every guarantee to a macro: `backend_guarantees!([some::macro] { arguments })` becomes
/// `some::macro! { { arguments } group: stage { name [needs] "sentence"; … } … }`.
///
/// The sentence is the first paragraph of the documentation of the function; a test compares them.
#[doc(hidden)]
#[macro_export]
macro_rules! backend_guarantees {
    ([$($then:tt)*] $arguments:tt) => { $($then)*! {
        $arguments
        save: alone {
            every_state_comes_back [] "A record of every state can be saved and read.";
            a_binary_result_comes_back_unchanged [] "Results are bytes and come back bit by bit.";
            an_empty_result_comes_back [] "An empty result is a result.";
            a_large_result_comes_back [] "A result of 1 MiB comes back.";
            a_failure_comes_back_with_its_causes []
                "A failure comes back with its causes, its place and every character.";
            large_numbers_come_back [] "Numbers at their limits come back.";
            an_id_of_the_caller_comes_back [] "An id may be a text that the caller chose.";
            a_later_state_takes_the_place_of_an_earlier_one []
                "A later state takes the place of an earlier one, with all that belongs to it.";
            answers_are_in_the_order_of_the_ids []
                "Answers are in the order of the ids; what is not there is `None`; an id may be asked for twice.";
            nothing_is_answered_with_nothing [] "Nothing in, nothing out.";
            what_is_forgotten_is_gone [] "What is forgotten is gone, and its id can be saved again, with any token.";
        }
        guard: alone {
            writes_are_guarded_as_the_rule_says []
                "The store decides as `Record::replaces` does, and keeps or replaces the whole record.";
            saving_again_is_harmless [] "Saving the same record again is harmless and answered as the first time.";
            one_call_can_hold_a_task_twice [] "The records of one task in one call are taken in their order.";
            of_many_writers_the_latest_claim_wins [] "Of many writers at once, the latest claim wins.";
            a_task_ends_once []
                "Of many that end a task at once, exactly one state is final, whoever comes later.";
        }
        retention: alone {
            a_record_ends_with_its_retention [Expiry]
                "A record ends with its retention; a later one starts a new one.";
            a_result_can_end_before_its_state [Expiry]
                "A result can end before its record; the state is still known.";
            a_result_need_not_be_kept [] "A result that is not to be kept is not there, and its state is.";
            for_ever_is_a_retention [] "What is kept for ever is kept.";
            what_is_not_kept_is_told_to_who_waits [Push]
                "A final state that is not to be kept is told to who waits, with its result, and is not there.";
            what_is_not_kept_leaves_no_earlier_state []
                "A final state that is not to be kept takes away what an earlier state left.";
            what_is_not_kept_is_guarded [] "A write that is not to be kept is guarded, too.";
        }
        wait: alone {
            a_waiter_is_told [] "Whoever waits is told when the task ends, in every way that it can end.";
            a_waiter_is_woken_at_once [Push] "A store that wakes who waits does so at once, not at the next look.";
            a_task_that_has_ended_is_answered_at_once [] "A task that has ended already is answered at once.";
            waiting_for_an_end_ends_after_its_time [] "Without an end, waiting ends after its time.";
            only_an_end_ends_the_wait [] "What is not the end does not end the wait.";
            a_refused_write_is_not_told [] "A result that is refused is not told.";
            many_can_wait_for_one_task [] "A hundred can wait for one task.";
            one_can_wait_for_many_tasks []
                "One process can wait for five hundred tasks; each waiter is told its own end.";
            a_dropped_wait_disturbs_nobody []
                "A wait that is dropped disturbs nobody who waits for the same task.";
        }
        load: alone {
            a_thousand_records_in_one_call [] "A thousand records in one call come back in one call.";
            ten_thousand_records_are_kept [] "Ten thousand records are kept and come back, each with its own result.";
            concurrent_calls_get_their_own_answers []
                "Many who save and load at the same time get their own answers.";
        }
        close: alone {
            after_close_every_call_is_refused [] "After `close`, every operation says that the backend is closed.";
            closing_ends_the_wait_for_a_task [] "`close` ends a wait that is going on, with an error.";
        }
        instances: pair {
            what_one_instance_saves_another_loads [] "What one instance saves, another one loads.";
            a_waiter_is_told_by_another_instance []
                "Who waits on one instance is told of an end that another one saves.";
            of_writers_on_two_instances_the_latest_wins []
                "Of many writers on two instances, the latest claim wins.";
            closing_an_instance_leaves_the_others []
                "Closing an instance ends its own waits and leaves the others alone.";
        }
        reconnect: disturbed {
            saving_goes_on_after_a_lost_connection []
                "Saving and loading work again after every break, and what was saved is there.";
            a_wait_outlives_a_lost_connection []
                "A wait outlives a lost connection, without an error, and is told of the end.";
        }
    } };
}
