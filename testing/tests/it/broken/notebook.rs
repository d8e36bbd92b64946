//! Which guarantees see which defect of a notebook.

use super::notebook_defects::Broken;
use super::{checks, must_fail};

/// What a broken notebook does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    Sound,
    AnswersInAnyOrder,
    ClosesNothing,
    ClosesTheStore,
    ConflictsWithEveryVersion,
    CountsAfterwards,
    CountsCalls,
    CutsValues,
    DeafAfterReconnect,
    DroppedListenerDeafens,
    EmptyIsNone,
    ErrsOnNothing,
    ExpectsNothing,
    FewListeners,
    ForeverIsNever,
    KeepsForEver,
    KeepsSignals,
    KeepsToItself,
    LastOfACallWins,
    LastValueStays,
    LeavesNotesOut,
    LiesAboutVersions,
    LosesOneOfABatch,
    LosesSignalsOnDrop,
    NeverReconnects,
    NoHoles,
    NoLimits,
    OneShelf,
    OneTopic,
    PagesByNumber,
    ReencodesValues,
    RemovesNothing,
    SetsAreNotes,
    ShortensSets,
    SkipsEqualValues,
    SkipsSignals,
    SortsAsText,
    TamesNames,
    TellsOne,
}

windlass_testing::notebook_guarantees!([checks] { notebook Broken Defect });

must_fail! {
    of_a_notebook, Defect:

    // Notes.
    wrong_versions_are_seen: LiesAboutVersions => a_note_comes_back;
    changed_values_are_seen: ReencodesValues =>
        a_binary_value_comes_back_unchanged a_place_holds_any_value a_signal_is_heard_bit_by_bit;
    missing_empty_values_are_seen: EmptyIsNone => an_empty_value_is_a_value a_place_holds_any_value;
    cut_values_are_seen: CutsValues => a_large_value_comes_back a_place_holds_any_value;
    skipped_changes_are_seen: SkipsEqualValues => versions_grow;
    missing_comparisons_are_seen: ExpectsNothing =>
        a_conflict_changes_nothing nothing_can_be_expected notes_are_answered_in_their_order
        of_many_writers_one_wins many_that_count_by_turns_count_right of_writers_on_two_instances_one_wins;
    endless_conflicts_are_seen: ConflictsWithEveryVersion => what_is_there_can_be_expected;
    what_stays_is_seen: RemovesNothing => a_removed_note_is_gone what_one_notebook_holds_others_see;
    answers_in_any_order_are_seen: AnswersInAnyOrder => notes_are_answered_in_their_order;
    a_call_that_forgets_its_begin_is_seen: LastOfACallWins => one_call_can_change_a_note_twice;
    errors_about_nothing_are_seen: ErrsOnNothing =>
        no_notes_are_answered_with_nothing an_empty_shelf_has_an_empty_page;
    changed_names_are_seen: TamesNames => every_allowed_name_is_a_name;
    mixed_shelves_are_seen: OneShelf => shelves_are_apart;
    mixed_sets_are_seen: SetsAreNotes => notes_and_sets_are_apart;
    losing_one_of_a_batch_is_seen: LosesOneOfABatch => a_thousand_notes_in_one_call a_large_set_is_exact_and_cheap;

    // Retention and pages.
    endless_notes_are_seen: KeepsForEver =>
        a_note_ends_with_its_retention writing_anew_changes_the_retention a_set_ends_with_its_time;
    a_for_ever_that_ends_is_seen: ForeverIsNever =>
        a_note_for_ever_is_kept writing_anew_changes_the_retention;
    sets_that_end_early_are_seen: ShortensSets => the_time_of_a_set_is_never_shortened;
    another_order_is_seen: SortsAsText => notes_are_listed_in_the_order_of_their_names;
    missing_notes_are_seen: LeavesNotesOut => pages_show_every_note_once;
    pages_by_number_are_seen: PagesByNumber => pages_go_on_while_notes_come_and_go;

    // Sets.
    changed_places_are_seen: LastValueStays => the_first_value_of_a_place_stays several_sets_can_be_filled_in_one_call;
    counted_repetitions_are_seen: CountsCalls =>
        a_set_knows_its_size a_call_with_many_places_learns_the_size several_sets_can_be_filled_in_one_call
        exactly_one_learns_that_a_set_is_full a_large_set_is_exact_and_cheap;
    a_count_in_a_second_step_is_seen: CountsAfterwards =>
        exactly_one_learns_that_a_set_is_full places_filled_on_two_instances_are_counted_together;
    missing_holes_are_seen: NoHoles => places_are_read_by_ranges;

    // Signals.
    a_favoured_listener_is_seen: TellsOne => every_listener_hears_a_signal who_listens_is_told_to_look;
    skipped_signals_are_seen: SkipsSignals => signals_are_heard_in_their_order;
    mixed_topics_are_seen: OneTopic => topics_are_apart;
    signals_of_the_past_are_seen: KeepsSignals => only_later_signals_are_heard;
    signals_lost_with_a_future_are_seen: LosesSignalsOnDrop => a_dropped_next_loses_no_signal;
    deafness_after_a_dropped_listener_is_seen: DroppedListenerDeafens => a_dropped_listener_disturbs_nobody;
    too_few_listeners_are_seen: FewListeners => many_can_listen_at_once;

    // Limits, the end, several instances, connections.
    missing_limits_are_seen: NoLimits =>
        a_value_above_the_limit_is_refused a_place_beyond_the_last_is_refused a_signal_above_the_limit_is_refused
        a_topic_that_is_no_name_is_refused;
    a_missing_end_is_seen: ClosesNothing => after_close_the_notebook_is_closed closing_ends_the_listening;
    an_end_for_all_is_seen: ClosesTheStore => closing_one_notebook_leaves_the_others;
    a_store_of_its_own_is_seen: KeepsToItself =>
        what_one_notebook_holds_others_see of_writers_on_two_instances_one_wins
        places_filled_on_two_instances_are_counted_together a_signal_is_heard_on_other_instances;
    a_connection_lost_for_ever_is_seen: NeverReconnects =>
        notes_go_on_after_a_lost_connection a_listener_outlives_a_lost_connection;
    deafness_after_reconnect_is_seen: DeafAfterReconnect => a_listener_outlives_a_lost_connection;
}
