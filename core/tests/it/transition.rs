//! Every state with every event, and the edges of every count.

use std::time::Duration;

use windlass_core::policy::FailureClass;
use windlass_core::state::Effects;
use windlass_core::{
    Backoff, Disposition, Event, ExecutionPolicy, Progress, RetryOn, Snapshot, State, Timestamp, Transition, transition,
};

const NOW: Timestamp = Timestamp::from_micros(1_763_710_000_000_000);
const PAUSE: Duration = Duration::from_secs(7);
const PLAIN: FailureClass = FailureClass::Error { retry_after: None };
const TIMED: FailureClass = FailureClass::Error { retry_after: Some(PAUSE) };

/// What an event leads to from each state, in the order of `State::ALL`, and the count that it
/// raises. After the slash: what must be done. `s` save, `a` acknowledge, `q` requeue, `r` release,
/// `d` dead letter; `-` means that the event cannot happen there.
#[rustfmt::skip]
const TABLE: [(Event, [&str; 8], Count); 16] = [
    //                    scheduled       queued          running         retrying        succ. failed     canc. exp.
    (Event::Due,           ["queued/",       "-",            "-",            "queued/",       "-", "-",       "-", "-"], Count::None),
    (Event::Claimed { begun: false },
                           ["-",             "running/",     "-",            "-",             "-", "-",       "-", "-"], Count::None),
    (Event::Succeeded,     ["-",             "-",            "succeeded/sa", "-",             "-", "-",       "-", "-"], Count::None),
    (Event::Failed(PLAIN), ["-",             "-",            "retrying/sq",  "-",             "-", "-",       "-", "-"], Count::Failures),
    (Event::Failed(TIMED), ["-",             "-",            "retrying/sq",  "-",             "-", "-",       "-", "-"], Count::Failures),
    (Event::Failed(FailureClass::Timeout),
                           ["-",             "-",            "retrying/sq",  "-",             "-", "-",       "-", "-"], Count::Failures),
    (Event::Failed(FailureClass::Panic),
                           ["-",             "-",            "retrying/sq",  "-",             "-", "-",       "-", "-"], Count::Failures),
    (Event::Failed(FailureClass::Permanent),
                           ["-",             "-",            "failed/sd",    "-",             "-", "-",       "-", "-"], Count::Failures),
    (Event::Snoozed(PAUSE),["-",             "-",            "scheduled/sq", "-",             "-", "-",       "-", "-"], Count::Snoozes),
    (Event::Cancelled,     ["cancelled/sa",  "cancelled/sa", "cancelled/sa", "cancelled/sa",  "-", "-",       "-", "-"], Count::None),
    (Event::Expired,       ["expired/sa",    "expired/sa",   "-",            "expired/sa",    "-", "-",       "-", "-"], Count::None),
    (Event::Released,      ["-",             "-",            "queued/sr",    "-",             "-", "-",       "-", "-"], Count::None),
    (Event::LeaseLost,     ["-",             "-",            "queued/",      "-",             "-", "-",       "-", "-"], Count::Losses),
    (Event::Unhandled,     ["-",             "scheduled/q",  "-",            "-",             "-", "-",       "-", "-"], Count::Parks),
    (Event::Undecodable,   ["-",             "failed/sd",    "-",            "-",             "-", "-",       "-", "-"], Count::None),
    (Event::Replayed,      ["-",             "-",            "-",            "-",             "-", "queued/", "-", "-"], Count::Fresh),
];

/// Which count an event raises by one; `Fresh` starts all of them again.
#[derive(Clone, Copy)]
enum Count {
    None,
    Failures,
    Losses,
    Snoozes,
    Parks,
    Fresh,
}

/// The place of an event in `Event`; a new one does not compile until it is in the table.
fn kind(event: Event) -> usize {
    match event {
        Event::Due => 0,
        Event::Claimed { .. } => 1,
        Event::Succeeded => 2,
        Event::Failed(_) => 3,
        Event::Snoozed(_) => 4,
        Event::Cancelled => 5,
        Event::Expired => 6,
        Event::Released => 7,
        Event::LeaseLost => 8,
        Event::Unhandled => 9,
        Event::Undecodable => 10,
        Event::Replayed => 11,
    }
}

fn counted(count: Count, before: Progress) -> Progress {
    let Progress { failures, losses, snoozes, parks, .. } = before;
    match count {
        Count::None => before,
        Count::Failures => Progress { failures: failures + 1, ..before },
        Count::Losses => Progress { losses: losses + 1, ..before },
        Count::Snoozes => Progress { snoozes: snoozes + 1, ..before },
        Count::Parks => Progress { parks: parks + 1, ..before },
        Count::Fresh => Progress::default(),
    }
}

/// The cell of the table for a transition.
fn cell(transition: &Transition) -> String {
    let Effects { save, settle } = transition.effects;
    let settle = match settle {
        None => "",
        Some(Disposition::Acknowledge) => "a",
        Some(Disposition::Requeue { .. }) => "q",
        Some(Disposition::Release) => "r",
        Some(Disposition::DeadLetter) => "d",
    };
    format!("{}/{}{settle}", transition.next.state, if save { "s" } else { "" })
}

#[test]
fn the_table_names_every_event() {
    let mut kinds: Vec<usize> = TABLE.iter().map(|(event, ..)| kind(*event)).collect();
    kinds.dedup();
    assert_eq!(kinds, (0..=11).collect::<Vec<_>>());
}

#[test]
fn every_state_with_every_event() {
    let progress = Progress { failures: 1, losses: 1, snoozes: 1, parks: 1, max_retries: None };
    for (event, cells, count) in TABLE {
        for (state, expected) in State::ALL.into_iter().zip(cells) {
            let snapshot = Snapshot { state, progress };
            match transition(snapshot, event, &ExecutionPolicy::default(), NOW, 0.0) {
                Ok(made) => {
                    assert_eq!(cell(&made), expected, "{event:?} while {state}");
                    assert_eq!(made.next.progress, counted(count, progress), "{event:?} while {state}");
                }
                Err(illegal) => {
                    assert_eq!(expected, "-", "{event:?} while {state}");
                    assert_eq!((illegal.state, illegal.event), (state, event));
                }
            }
        }
    }
}

#[test]
fn an_illegal_transition_says_what_and_when() {
    let snapshot = Snapshot { state: State::Succeeded, progress: Progress::default() };
    let error = transition(snapshot, Event::Expired, &ExecutionPolicy::default(), NOW, 0.0).unwrap_err();
    assert_eq!(error.to_string(), "a task that is succeeded cannot be Expired");
}

/// A policy with small numbers and without jitter.
fn policy() -> ExecutionPolicy {
    ExecutionPolicy {
        max_retries: 2,
        backoff: Backoff::fixed(PAUSE),
        max_losses: 3,
        max_snoozes: 4,
        max_parks: 5,
        park_delay: Duration::from_secs(30),
        ..ExecutionPolicy::default()
    }
}

fn step(state: State, progress: Progress, event: Event, policy: &ExecutionPolicy) -> Transition {
    transition(Snapshot { state, progress }, event, policy, NOW, 0.0).unwrap()
}

fn requeued(transition: &Transition) -> Option<Duration> {
    match transition.effects.settle {
        Some(Disposition::Requeue { after }) => Some(after),
        _ => None,
    }
}

#[test]
fn the_last_retry_is_made_and_no_further() {
    for (failures, expected) in [(0, "retrying/sq"), (1, "retrying/sq"), (2, "failed/sd"), (3, "failed/sd")] {
        let progress = Progress { failures, ..Progress::default() };
        let made = step(State::Running, progress, Event::Failed(PLAIN), &policy());
        assert_eq!(cell(&made), expected, "after {failures} failures");
        assert_eq!(made.next.progress.failures, failures + 1);
    }
}

#[test]
fn without_retries_the_first_failure_is_the_last() {
    let policy = ExecutionPolicy { max_retries: 0, ..policy() };
    let made = step(State::Running, Progress::default(), Event::Failed(TIMED), &policy);
    assert_eq!(cell(&made), "failed/sd");
    assert_eq!(made.next.progress, Progress { failures: 1, ..Progress::default() });
}

#[test]
fn a_task_that_loses_its_workers_is_poison_at_the_limit() {
    for (losses, expected) in [(0, "running/"), (2, "running/"), (3, "failed/sd"), (4, "failed/sd")] {
        let progress = Progress { losses, ..Progress::default() };
        for (begun, expected) in [(true, expected), (false, "running/")] {
            let made = step(State::Queued, progress, Event::Claimed { begun }, &policy());
            assert_eq!(cell(&made), expected, "after {losses} losses, begun: {begun}");
            assert_eq!(made.next.progress, progress, "a claim counts nothing");
        }
    }
}

/// Of a task that a lost worker had, it was recorded that it runs; of any other there is nothing to undo.
#[test]
fn only_a_redelivered_task_that_is_given_back_is_recorded() {
    for (losses, snoozed, released) in [(0, "scheduled/q", "queued/r"), (1, "scheduled/sq", "queued/sr")] {
        let progress = Progress { losses, ..Progress::default() };
        assert_eq!(cell(&step(State::Running, progress, Event::Snoozed(PAUSE), &policy())), snoozed);
        assert_eq!(cell(&step(State::Running, progress, Event::Released, &policy())), released);
    }
}

#[test]
fn snoozes_have_a_limit_and_wait_as_long_as_they_were_told() {
    for (snoozes, expected) in [(0, "scheduled/q"), (3, "scheduled/q"), (4, "failed/sd"), (5, "failed/sd")] {
        let progress = Progress { snoozes, ..Progress::default() };
        let made = step(State::Running, progress, Event::Snoozed(PAUSE), &policy());
        assert_eq!(cell(&made), expected, "after {snoozes} snoozes");
        assert_eq!(requeued(&made), (snoozes < 4).then_some(PAUSE));
        assert_eq!(made.next.progress.failures, 0, "a snooze uses up no retry");
    }
}

#[test]
fn parks_have_a_limit_and_wait_for_the_delay_of_the_policy() {
    for (parks, expected) in [(0, "scheduled/q"), (4, "scheduled/q"), (5, "failed/sd"), (6, "failed/sd")] {
        let progress = Progress { parks, ..Progress::default() };
        let made = step(State::Queued, progress, Event::Unhandled, &policy());
        assert_eq!(cell(&made), expected, "after {parks} parks");
        assert_eq!(requeued(&made), (parks < 5).then_some(Duration::from_secs(30)));
    }
}

#[test]
fn no_retry_is_made_that_would_come_after_the_deadline() {
    let micro = Duration::from_micros(1);
    for (left, expected) in [(PAUSE + micro, "retrying/sq"), (PAUSE, "failed/sd"), (Duration::ZERO, "failed/sd")] {
        let policy = ExecutionPolicy { deadline: Some(NOW.plus(left)), ..policy() };
        for class in [PLAIN, TIMED, FailureClass::Timeout, FailureClass::Panic] {
            let made = step(State::Running, Progress::default(), Event::Failed(class), &policy);
            assert_eq!(cell(&made), expected, "{class:?} with {left:?} left");
        }
    }
}

#[test]
fn only_what_the_policy_names_is_retried() {
    let nothing = RetryOn { errors: false, timeouts: false, panics: false };
    let cases = [
        (PLAIN, RetryOn { errors: true, ..nothing }),
        (TIMED, RetryOn { errors: true, ..nothing }),
        (FailureClass::Timeout, RetryOn { timeouts: true, ..nothing }),
        (FailureClass::Panic, RetryOn { panics: true, ..nothing }),
    ];
    for (class, only) in cases {
        for (other, _) in cases {
            let policy = ExecutionPolicy { retry_on: only, ..policy() };
            let made = step(State::Running, Progress::default(), Event::Failed(other), &policy);
            let same = std::mem::discriminant(&class) == std::mem::discriminant(&other);
            assert_eq!(made.next.state == State::Retrying, same, "{other:?} with {only:?}");
        }
    }
}

#[test]
fn counts_stop_at_their_end() {
    let progress =
        Progress { failures: u32::MAX, losses: u32::MAX, snoozes: u32::MAX, parks: u32::MAX, max_retries: None };
    let policy = ExecutionPolicy { max_losses: u32::MAX, ..policy() };
    for (state, event) in [
        (State::Running, Event::Failed(PLAIN)),
        (State::Running, Event::LeaseLost),
        (State::Running, Event::Snoozed(PAUSE)),
        (State::Queued, Event::Unhandled),
    ] {
        assert_eq!(step(state, progress, event, &policy).next.progress, progress, "{event:?}");
    }
    assert_eq!(progress.attempt(), u32::MAX);
}

#[test]
fn states_have_names_and_four_are_final() {
    for state in State::ALL {
        assert_eq!(State::from_name(state.as_str()), Some(state));
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
    }
    assert_eq!(State::from_name("Queued"), None);
    let last: Vec<&str> = State::ALL.into_iter().filter(|state| state.is_final()).map(State::as_str).collect();
    assert_eq!(last, ["succeeded", "failed", "cancelled", "expired"]);
}
