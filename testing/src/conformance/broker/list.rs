//! The list of all guarantees of a broker.

/// Hands every guarantee to a macro: `broker_guarantees!([some::macro] { arguments })` becomes
/// `some::macro! { { arguments } group: stage { name [needs] "sentence"; … } … }`.
///
/// The sentence is the first paragraph of the documentation of the function; a test compares them.
#[doc(hidden)]
#[macro_export]
macro_rules! broker_guarantees {
    ([$($then:tt)*] $arguments:tt) => { $($then)*! {
        $arguments
        publish: alone {
            a_message_arrives [] "A message arrives as it was sent.";
            a_binary_payload_arrives_unchanged [] "Payloads are bytes and arrive bit by bit.";
            numbers_are_not_rounded [] "Digits that a script or a page would round arrive as they were.";
            an_empty_payload_arrives [] "A payload may be empty.";
            a_large_payload_arrives [] "A payload of 1 MiB arrives, unless the capabilities allow less.";
            options_and_headers_arrive [] "Every option and header travels.";
            unknown_fields_arrive [] "Fields of a later version are passed on.";
            an_id_of_the_caller_arrives [] "An id may be a text that the caller chose.";
            queues_are_separate [] "A queue delivers its own messages and no others.";
            publishing_nothing_is_nothing [] "Publishing nothing answers nothing.";
        }
        limits: alone {
            the_largest_payload_arrives [] "A payload as large as the capabilities allow arrives.";
            a_payload_above_the_limit_is_refused_alone []
                "A payload above the limit is refused with both sizes in the text, and the rest of its batch is accepted.";
        }
        unknown: alone {
            bytes_that_are_no_message_are_delivered_as_such []
                "Bytes that are no message are delivered as such, and do not hold up the others.";
            bytes_that_are_no_message_can_be_put_back []
                "Bytes that are no message can be put back for a worker that knows them, and come again unchanged.";
            a_dead_letter_that_is_no_message_keeps_its_bytes [DeadLetters]
                "Bytes that are no message are kept among the dead letters as they came, and replayed so.";
        }
        fetch: alone {
            first_in_first_out [] "First in, first out, within and across calls.";
            answers_are_in_the_order_of_the_batch [] "The answers to a batch are in its order.";
            at_most_max_are_claimed [] "Never more than was asked for.";
            an_empty_queue_answers_at_once [] "An empty queue is answered at once.";
            a_thousand_in_one_call [] "A thousand messages can be published in one call.";
        }
        ready: alone {
            a_waiter_is_woken_by_a_message [] "A waiter is woken by a message that is published while it waits.";
            a_waiting_message_is_told_at_once [] "A message that waits already is told at once.";
            waiting_ends_after_its_time [] "Without a message, waiting ends after its time.";
            a_dropped_wait_takes_nothing [] "A future of `ready` can be dropped at any time and takes nothing with it.";
            one_message_does_not_wake_everybody [] "Of many waiters, one message wakes a few at most.";
        }
        priority: alone {
            every_priority_arrives [] "A message of every priority arrives, and with its priority.";
            within_a_priority_the_oldest_comes_first [] "Within a priority, first in, first out.";
            the_most_urgent_comes_first [Priority]
                "Of what waits, the most urgent comes first, in whatever order and calls it was published.";
            an_urgent_message_overtakes_what_waits [Priority] "An urgent message overtakes what waits already.";
            a_delayed_message_keeps_its_priority [Priority Delay] "A priority outlives a delay.";
            a_retry_keeps_its_priority [Priority Delay] "A priority outlives a retry, with a pause and without.";
            a_release_goes_to_the_head_of_its_priority [Priority]
                "What is released goes to the head of its priority, not before what is more urgent.";
            a_lost_lease_keeps_the_priority [Priority Lease]
                "A priority outlives a lost lease: it comes back at the head of its priority.";
            a_replayed_dead_letter_keeps_its_priority [Priority DeadLetters]
                "A priority outlives the dead letters: what is replayed has it again.";
        }
        reserve: alone {
            kept_places_go_to_the_less_urgent [Priority]
                "Places that are kept for a priority go to its messages, though more urgent ones wait.";
            kept_places_that_nobody_needs_are_used [Priority]
                "Places that are kept for nobody who waits go to the most urgent.";
            kept_places_beyond_max_go_to_the_most_urgent [Priority]
                "If more places are kept than are asked for, those of the most urgent are given first.";
            kept_places_change_no_order [Priority]
                "Whatever is kept for whom, the oldest of each priority is delivered, the most urgent first; and the rest stays in its order.";
        }
        full: alone {
            a_full_queue_refuses_what_is_more [Limit]
                "A queue takes as many messages as its limit says, answers each further one with how many wait, and never delivers it.";
            delayed_messages_count_for_the_limit [Limit Delay] "What waits for its time counts for the limit.";
            a_claimed_message_makes_room [Limit]
                "What a worker has makes room, and so does what has become a dead letter.";
            what_comes_back_finds_room [Limit]
                "What comes back to a full queue is taken: what is released, retried or replayed, and what has no limit.";
            a_duplicate_is_one_in_a_full_queue [Limit Idempotent]
                "An id that is taken is a duplicate, also where the queue is full.";
            many_publishers_fill_a_queue [Limit]
                "Of many that publish at once, as many as the limit says are taken at least; what is taken comes, and what is refused never does.";
            a_full_queue_drops_its_oldest [DropOldest]
                "A full queue can take what comes and drop its oldest instead.";
            what_is_dropped_is_a_dead_letter [DropOldest DeadLetters]
                "What a full queue has dropped is a dead letter whose reason says so; it can be replayed.";
            the_least_urgent_is_dropped_first [DropOldest Priority]
                "A full queue drops the oldest of the least urgent, which can be the one that comes.";
        }
        delay: alone {
            a_delay_is_kept [Delay] "A delayed message does not come before its delay is over, and comes then.";
            a_point_in_time_is_kept [Delay] "A message for a point in time does not come before it, and comes then.";
            a_time_that_has_passed_is_now [Delay] "A point in time that has passed means now.";
            a_delayed_message_holds_up_nobody [Delay] "A delayed message holds up nobody.";
            delayed_messages_come_in_the_order_of_their_times [Delay]
                "Delayed messages come in the order of their times, not of their publishing.";
        }
        settle: alone {
            acknowledging_removes [] "What is acknowledged is gone.";
            acknowledging_twice_is_harmless []
                "Acknowledging again does no harm, also when the id was published again.";
            a_retry_waits_and_keeps_its_counts [Delay]
                "A retry comes back after its pause with the counts that it was given.";
            a_requeue_goes_to_the_end [] "A requeue without a pause goes to the end of the queue.";
            a_release_goes_to_the_head_uncounted []
                "What is released goes to the head, in its order, and nothing is counted.";
            a_mixed_batch_is_answered_in_its_order [] "One call settles in every way, and answers in order.";
            settling_nothing_is_nothing [] "Settling nothing answers nothing.";
        }
        lease: alone {
            a_claim_is_exclusive [] "While a claim lasts, nobody else gets the message.";
            a_lease_that_ran_out_redelivers_at_the_head [Lease]
                "A claim whose lease runs out is delivered again, at the head, with one more loss.";
            a_lost_batch_comes_back_in_its_order [Lease] "A whole batch whose lease runs out comes back in its order.";
            an_extended_claim_is_kept [Lease] "A claim that is extended outlives its first lease.";
            an_extension_counts_from_now [Lease] "An extension counts from now: a shorter one ends the claim sooner.";
            many_claims_are_extended_in_one_call [Lease Fencing]
                "One call extends many claims and answers in their order.";
            extending_works_while_the_runtime_is_blocked [Lease]
                "`extend` makes progress while the caller's runtime is blocked, if it is polled from another one.";
            a_claim_without_a_lease_is_held_until_it_is_settled [NoLease]
                "Without a lease, a claim is held until it is settled, and `extend` says so.";
        }
        claim: alone {
            tokens_grow [] "After each claim of a task, its token is greater.";
            tokens_grow_with_a_lost_lease [Lease] "A lost lease makes the next token greater, too.";
            an_old_claim_settles_nothing [Lease Fencing] "Whatever the old owner says, the new one keeps the message.";
            an_old_claim_extends_nothing [Lease Fencing]
                "The old owner cannot extend, and does not disturb the new lease by trying.";
            a_settled_claim_is_over [Fencing]
                "A claim ends with its settlement: what comes later under its token changes nothing.";
        }
        counts: alone {
            losses_add_up [Lease] "Every further loss is counted, and what it has been through stays.";
            a_number_of_retries_of_its_own_is_kept []
                "A number of retries that a task has set for itself is kept with its counts, however it is put back.";
            a_number_of_retries_of_its_own_outlives_a_lost_lease [Lease]
                "A number of retries that a task has set for itself outlives a lost lease.";
            losses_and_failures_are_counted_apart [Lease]
                "Losses and failures are counted apart, and neither changes the other.";
            large_counts_come_back [] "Counts up to the largest number come back with the next delivery.";
            a_dead_letter_shows_its_counts [DeadLetters] "A dead letter shows the counts that it died with.";
        }
        dead: alone {
            a_dead_letter_is_listed_complete [DeadLetters]
                "A dead letter is listed with its reason, its counts, its time, and the message as it was.";
            pages_show_every_dead_letter_once [DeadLetters]
                "Pages show every letter once, the oldest first, although many died at the same moment.";
            without_dead_letters_the_page_is_empty [DeadLetters] "A queue without dead letters has one empty page.";
            a_replayed_dead_letter_runs_again [DeadLetters]
                "A replayed letter runs again with fresh counts and a greater token, and is no dead letter any more.";
            an_edited_dead_letter_runs_in_its_place [DeadLetters]
                "A letter can be replayed with another message in its place, under its id and with fresh counts.";
            an_edited_dead_letter_has_its_new_priority [DeadLetters Priority]
                "A letter that is edited has the priority of its new message.";
            an_edited_dead_letter_is_checked [DeadLetters]
                "An edited message with a payload above the limit is refused, and nothing is replayed.";
            a_discarded_dead_letter_is_gone [DeadLetters]
                "A discarded letter is gone for good; the answer says how many there were, and the others stay.";
            only_dead_letters_are_discarded [DeadLetters] "Discarding what waits or runs changes nothing.";
            only_dead_letters_are_replayed [DeadLetters] "Replaying what waits or runs changes nothing.";
        }
        identity: alone {
            an_id_is_taken_while_its_task_is_there [Idempotent Delay]
                "While a task waits, runs, waits for its retry or is dead, its id is taken, and nothing changes.";
            an_id_is_taken_while_its_task_is_delayed [Idempotent Delay] "While a task is delayed, its id is taken.";
            one_call_can_hold_an_id_twice [Idempotent] "Of two messages with one id in one call, the first is taken.";
            an_id_published_by_many_at_once_is_one_task [Idempotent]
                "Many that publish one id at the same moment enqueue one task.";
            an_id_is_remembered_after_the_end [Idempotent]
                "An id is remembered after the end for as long as the settlement says, and free again afterwards.";
            an_id_that_is_not_remembered_is_free_at_once [] "An id that is not to be remembered is free at once.";
        }
        locate: alone {
            a_message_is_found_wherever_it_is [Locate]
                "A message is found in every place of its life, and nowhere after it.";
            what_waits_for_its_time_is_found_with_its_time [Locate Delay]
                "A delayed message, a snoozed one and a retry are told apart.";
        }
        cancel: alone {
            a_waiting_message_can_be_cancelled [Cancel]
                "A message that waits can be cancelled; it never comes, the others do, and its id is free.";
            what_waits_for_its_time_can_be_cancelled [Cancel Delay]
                "A delayed message and a retry that waits can be cancelled.";
            a_running_message_is_not_cancelled [Cancel] "A message that a worker has is left to it.";
            only_what_waits_is_cancelled [Cancel] "What is finished, dead or was never there is not found.";
        }
        load: alone {
            many_consumers_get_each_message_once [] "Eight consumers get each of 2,000 messages exactly once.";
            many_publishers_lose_nothing []
                "Eight publishers at once lose nothing, and the messages of each stay in their order.";
        }
        refusal: alone {
            what_is_not_offered_is_refused []
                "What the capabilities do not offer is refused as `Unsupported`, no delay is cut short, and nothing is dropped for a limit.";
        }
        close: alone {
            after_close_everything_is_closed [] "After `close`, every operation says that the broker is closed.";
            closing_ends_a_wait [] "`close` ends a wait that is going on.";
        }
        instances: pair {
            consumers_of_two_instances_get_each_message_once []
                "What one instance publishes, consumers on both get, each message exactly once.";
            a_claim_holds_against_other_instances [] "A claim of one instance holds against the others.";
            a_waiter_is_woken_by_another_instance []
                "Who waits on one instance is woken by what another one publishes.";
            tokens_grow_across_instances [] "Tokens of one task grow, whichever instance claims it.";
            what_one_has_not_fetched_the_others_get []
                "What one instance has not fetched, another one gets, also while the first one fetches no more.";
            a_lost_instance_leaves_its_claims [Lease]
                "What a lost instance held comes to the others when its leases have run out.";
            a_closed_instance_gives_its_claims_back [NoLease]
                "What an instance held without leases comes to the others when it is closed, at most one loss counted.";
            closing_one_instance_leaves_the_others [] "Closing an instance leaves the others alone.";
            a_claim_taken_over_settles_nothing [Lease Fencing]
                "The claim that another instance has taken over settles nothing.";
            an_id_is_taken_for_all_instances [Idempotent] "An id that one instance has published is taken for all.";
            a_full_queue_is_full_for_all_instances [Limit] "A queue that one instance has filled up is full for all.";
            a_delay_outlives_its_publisher [Delay] "A delayed message outlives the instance that published it.";
            dead_letters_belong_to_all_instances [DeadLetters]
                "Dead letters of one instance are listed and replayed by another one.";
        }
        reconnect: disturbed {
            nothing_accepted_is_lost_with_a_connection []
                "What was accepted before a connection broke comes after it, every message of it.";
            publishing_goes_on_after_a_lost_connection []
                "Publishing works again after every break, and what it accepts arrives.";
            a_waiter_outlives_a_lost_connection []
                "Who waits while the connection breaks is still woken by what comes then.";
            a_leased_claim_outlives_its_connection [Lease]
                "A claim under a lease outlives the connection: it is settled over the next one.";
            an_unleased_claim_ends_with_its_connection [NoLease]
                "A claim without a lease ends with its connection: the message comes again, and the old claim says so.";
        }
    } };
}
