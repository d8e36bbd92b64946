//! Random walks through the life of a task.

use proptest::collection::vec;
use proptest::prelude::*;
use windlass_core::{
    Disposition, Event, ExecutionPolicy, Progress, Snapshot, State, Timestamp, Transition, transition,
};

use crate::strategies::{event, policy, state, timestamp};

const START: Snapshot = Snapshot {
    state: State::Queued,
    progress: Progress { failures: 0, losses: 0, snoozes: 0, parks: 0, max_retries: None },
};

/// The legal steps of a walk: where it was, what happened, what followed.
fn walk(events: &[Event], policy: &ExecutionPolicy, now: Timestamp, random: f64) -> Vec<(Snapshot, Event, Transition)> {
    let mut at = START;
    let mut steps = Vec::new();
    for event in events {
        if let Ok(made) = transition(at, *event, policy, now, random) {
            steps.push((at, *event, made));
            at = made.next;
        }
    }
    steps
}

/// Checks that a task is either finished and put away, or somewhere that a broker finds again.
fn is_never_lost(before: Snapshot, event: Event, made: &Transition) -> Result<(), TestCaseError> {
    let state = made.next.state;
    match made.effects.settle {
        Some(Disposition::Acknowledge) => prop_assert!(state.is_final() && state != State::Failed),
        Some(Disposition::DeadLetter) => prop_assert_eq!(state, State::Failed),
        Some(Disposition::Requeue { .. }) => prop_assert!(matches!(state, State::Scheduled | State::Retrying)),
        Some(Disposition::Release) => prop_assert_eq!(state, State::Queued),
        // The message stays where it is, so the task must not be over.
        None => prop_assert!(!state.is_final()),
    }
    let leaves_a_claim = before.state == State::Running && event != Event::LeaseLost;
    prop_assert!(!leaves_a_claim || made.effects.settle.is_some(), "a claim is left without a word");
    prop_assert!(!state.is_final() || made.effects.save, "a final state is told");
    Ok(())
}

proptest! {
    #[test]
    fn final_states_take_nothing_but_a_replay(
        state in state(), event in event(), policy in policy(), now in timestamp(), random in 0.0..=1.0_f64,
    ) {
        let made = transition(Snapshot { state, progress: Progress::default() }, event, &policy, now, random);
        if state.is_final() {
            prop_assert_eq!(made.is_ok(), (state, event) == (State::Failed, Event::Replayed));
        }
    }

    #[test]
    fn counts_never_pass_their_limits(
        events in vec(event(), 0..200), policy in policy(), now in timestamp(), random in 0.0..=1.0_f64,
    ) {
        // What had not begun in the worker that was lost is not to blame, however often that happens.
        let to_blame = |event| if let Event::Claimed { .. } = event { Event::Claimed { begun: true } } else { event };
        let events: Vec<Event> = events.into_iter().map(to_blame).collect();
        for (_, _, made) in walk(&events, &policy, now, random) {
            let Progress { failures, losses, snoozes, parks, .. } = made.next.progress;
            prop_assert!(failures <= policy.max_retries + 1, "{failures} failures");
            prop_assert!(losses <= policy.max_losses, "{losses} losses");
            prop_assert!(snoozes <= policy.max_snoozes, "{snoozes} snoozes");
            prop_assert!(parks <= policy.max_parks, "{parks} parks");
        }
    }

    #[test]
    fn a_task_ends_or_stays_listed(
        events in vec(event(), 0..200), policy in policy(), now in timestamp(), random in 0.0..=1.0_f64,
    ) {
        for (before, event, made) in walk(&events, &policy, now, random) {
            is_never_lost(before, event, &made)?;
        }
    }

    #[test]
    fn every_run_is_paid_for(
        events in vec(event(), 0..200), policy in policy(), now in timestamp(), random in 0.0..=1.0_f64,
    ) {
        let (mut runs, mut released) = (0, 0);
        for (_, event, made) in walk(&events, &policy, now, random) {
            match event {
                Event::Replayed => (runs, released) = (0, 0),
                Event::Released => released += 1,
                _ => runs += u32::from(made.next.state == State::Running),
            }
            let Progress { failures, losses, snoozes, .. } = made.next.progress;
            prop_assert!(runs <= failures + losses + snoozes + released + 1, "{runs} runs after {:?}", made.next);
        }
    }

    #[test]
    fn a_worker_that_only_fails_comes_to_an_end(
        outcomes in vec(event(), 64), policy in policy(), now in timestamp(), random in 0.0..=1.0_f64,
    ) {
        // Whatever each run does, except being given back: the number of runs is bounded.
        let mut at = START;
        let mut outcomes = outcomes.into_iter().filter(|event| !matches!(event, Event::Released));
        while !at.state.is_final() {
            let event = match at.state {
                State::Scheduled | State::Retrying => Event::Due,
                State::Queued => Event::Claimed { begun: true },
                _ => match outcomes.by_ref().find(|event| transition(at, *event, &policy, now, random).is_ok()) {
                    Some(event) => event,
                    None => Event::Failed(windlass_core::policy::FailureClass::Panic),
                },
            };
            at = transition(at, event, &policy, now, random).unwrap().next;
        }
        prop_assert!(at.state.is_final());
    }
}
