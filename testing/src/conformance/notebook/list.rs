//! The list of all guarantees of a notebook.

/// Hands every guarantee to a macro: `notebook_guarantees!([some::macro] { arguments })` becomes
/// `some::macro! { { arguments } group: stage { name [needs] "sentence"; … } … }`.
///
/// The sentence is the first paragraph of the documentation of the function; a test compares them.
#[doc(hidden)]
#[macro_export]
macro_rules! notebook_guarantees {
    ([$($then:tt)*] $arguments:tt) => { $($then)*! {
        $arguments
        write: alone {
            a_note_comes_back [] "A note is read as it was written, with the version that the writer was told.";
            a_binary_value_comes_back_unchanged [] "Values are bytes and come back bit by bit.";
            an_empty_value_is_a_value [] "An empty value is a value.";
            a_large_value_comes_back [] "A value of 1 MiB comes back.";
            versions_grow [] "After each change, a note has a greater version.";
            a_conflict_changes_nothing []
                "A change that expects something else is answered with a conflict and changes nothing.";
            what_is_there_can_be_expected [] "A change that expects exactly what is there is made.";
            nothing_can_be_expected [] "Where nothing is, nothing but a version is a wrong expectation.";
            a_removed_note_is_gone []
                "A note that is removed, or written with nothing to be kept, is gone, and can be written anew.";
            notes_are_answered_in_their_order []
                "Changes are made each for itself and answered in their order; what is read is, too.";
            one_call_can_change_a_note_twice [] "The changes of one note in one call are made in their order.";
            no_notes_are_answered_with_nothing [] "Nothing in, nothing out, for notes and sets.";
            every_allowed_name_is_a_name []
                "Names of every allowed character and length are names, and none is taken for another one.";
            shelves_are_apart [] "The same name on another shelf is another note.";
            notes_and_sets_are_apart []
                "A note and a set of the same name are two things, and only the note is listed.";
            a_thousand_notes_in_one_call [] "A thousand notes can be written and read in one call.";
        }
        race: alone {
            of_many_writers_one_wins []
                "Of many that expect the same at the same moment, exactly one writes; the others are told of a conflict.";
            many_that_count_by_turns_count_right []
                "Many that read a number and write the next one, again after each conflict, count right.";
        }
        keep: alone {
            a_note_ends_with_its_retention []
                "A note ends with its retention: it is neither read nor listed, and can be written as if it had never been.";
            writing_anew_changes_the_retention []
                "A note that is written anew is kept for as long as that says, longer or shorter than before.";
            a_note_for_ever_is_kept []
                "A note that is kept for ever is kept, and a conflict does not change for how long.";
            a_set_ends_with_its_time [] "A set ends with its time, as a whole, and can be filled anew.";
            the_time_of_a_set_is_never_shortened []
                "The time of a set is made longer by every place, and shorter by none.";
        }
        list: alone {
            notes_are_listed_in_the_order_of_their_names []
                "Notes are listed in the order of the bytes of their names, with value and version.";
            pages_show_every_note_once [] "Pages of any size show every note once, in order.";
            pages_go_on_while_notes_come_and_go []
                "Pages go on at their place while notes come and go, also if the note that a page ended with is gone.";
            an_empty_shelf_has_an_empty_page [] "A shelf without notes has one empty page.";
        }
        set: alone {
            the_first_value_of_a_place_stays [] "The first value of a place stays, whatever comes later.";
            a_set_knows_its_size []
                "Each call learns how many places of its set are filled, whatever their order, and repetitions count once.";
            a_call_with_many_places_learns_the_size []
                "A call that fills several places of a set learns at its last one how many are filled, and at none more.";
            several_sets_can_be_filled_in_one_call []
                "Several sets can be filled in one call, and each counts its own places.";
            exactly_one_learns_that_a_set_is_full []
                "Of 64 that fill the 64 places of a set at the same moment, exactly one learns that it is full.";
            a_place_holds_any_value [] "A place holds any value: binary, empty, and of 1 MiB.";
            places_are_read_by_ranges []
                "Any range of a set can be read, with nothing where nothing is, and nothing of a set that is not there.";
            a_large_set_is_exact_and_cheap []
                "A set of 10,000 places is exact, and a call costs no more because it is large.";
        }
        signal: alone {
            who_listens_is_told_to_look []
                "After a signal, who listens hears it, or that something may have been missed.";
            every_listener_hears_a_signal [Push] "Everyone who listens hears a signal.";
            a_signal_is_heard_bit_by_bit [Push] "A signal is bytes, of any length up to the limit.";
            signals_are_heard_in_their_order [Push]
                "Signals are heard in the order of sending, also by who listens without asking for a while.";
            topics_are_apart [Push] "Only signals of its own topic are heard by a listener.";
            only_later_signals_are_heard [Push]
                "What was signalled before is not heard, and is no error where nobody listens.";
            a_dropped_next_loses_no_signal [Push]
                "A future of `next` can be dropped at any time, and no signal is lost by that.";
            a_dropped_listener_disturbs_nobody [Push]
                "A listener that is dropped disturbs nobody who listens to the same topic, then or later.";
            many_can_listen_at_once [Push] "A hundred can listen to a topic each at the same time, and each hears its own.";
        }
        refusal: alone {
            a_value_above_the_limit_is_refused []
                "A call with a value above the limit is refused as a whole, with the limit in the text.";
            a_place_beyond_the_last_is_refused []
                "A place that no set has is refused, with the number of places in the text.";
            a_signal_above_the_limit_is_refused []
                "A signal above the limit is refused, with the limit in the text, and nobody hears it.";
            a_topic_that_is_no_name_is_refused []
                "A topic that is no name is refused, by who signals and by who listens.";
        }
        close: alone {
            after_close_the_notebook_is_closed []
                "After `close` of the backend, every call of its notebook says that it is closed.";
            closing_ends_the_listening [] "`close` ends every listening, with an error that says so.";
        }
        instances: pair {
            what_one_notebook_holds_others_see []
                "What one instance writes, another one reads, lists, changes and gathers.";
            of_writers_on_two_instances_one_wins []
                "Of many writers on two instances that expect the same, exactly one writes.";
            places_filled_on_two_instances_are_counted_together []
                "Places that are filled on two instances at the same moment are counted together.";
            a_signal_is_heard_on_other_instances [Push] "A signal of one instance is heard on the others.";
            closing_one_notebook_leaves_the_others []
                "Closing an instance ends its own listening and leaves that of the others alone.";
        }
        reconnect: disturbed {
            notes_go_on_after_a_lost_connection []
                "Every call works again after a break, and what was written before is there.";
            a_listener_outlives_a_lost_connection [Push]
                "Who listens while the connection breaks hears what is signalled then, or that something was missed, and hears what comes later.";
        }
    } };
}
