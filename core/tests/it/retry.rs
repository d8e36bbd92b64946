//! Policies: backoff, retry decision, limits of a run.

use std::time::Duration;

use proptest::prelude::*;
use windlass_core::policy::{Decision, FailureClass, Limits, decide, limits};
use windlass_core::{Backoff, ErrorKind, ExecutionPolicy, Options, Progress, Retention, RetryOn, Timestamp};

use crate::strategies::{backoff, retry_on};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const NOW: Timestamp = Timestamp::from_micros(1_763_710_000_000_000);

#[test]
fn pauses_of_the_first_retries() {
    let exponential = Backoff::exponential(SECOND, 3.0, HOUR);
    let table = [
        (Backoff::fixed(10 * SECOND), [10.0, 10.0, 10.0, 10.0, 10.0]),
        (Backoff::linear(10 * SECOND, 35 * SECOND), [10.0, 20.0, 30.0, 35.0, 35.0]),
        (exponential, [1.0, 3.0, 9.0, 27.0, 81.0]),
        (Backoff::exponential(SECOND, 1.0, HOUR), [1.0; 5]),
        (Backoff::default(), [1.0, 3.0, 9.0, 27.0, 81.0]),
    ];
    for (backoff, expected) in table {
        for (retry, seconds) in (1..).zip(expected) {
            assert_eq!(backoff.pause(retry, 0.0), Duration::from_secs_f64(seconds), "{backoff}, retry {retry}");
        }
        assert_eq!(backoff.pause(0, 0.0), backoff.pause(1, 0.0), "there is no retry before the first");
        let longest = if expected[4] == expected[0] { backoff.base } else { backoff.cap };
        assert_eq!(backoff.pause(u32::MAX, 0.0), longest, "{backoff}, in the end");
    }
}

#[test]
fn jitter_takes_its_share_and_no_more() {
    let backoff = Backoff::exponential(SECOND, 2.0, HOUR);
    assert_eq!(backoff.pause(3, 0.0), 4 * SECOND);
    assert_eq!(backoff.pause(3, 0.5), Duration::from_millis(3500));
    assert_eq!(backoff.pause(3, 1.0), 3 * SECOND);
    assert_eq!(backoff.pause(3, 7.0), 3 * SECOND, "what is beyond 0 to 1 is brought back");
    assert_eq!(backoff.with_jitter(1.0).pause(3, 1.0), Duration::ZERO);
    assert_eq!(Backoff::fixed(SECOND).pause(1, 1.0), SECOND, "none unless it was asked for");
}

#[test]
fn the_default_spreads_ten_retries_over_some_hours() {
    let total = |random| (1..=10).map(|retry| Backoff::default().pause(retry, random)).sum::<Duration>();
    assert!((2 * HOUR..=4 * HOUR).contains(&total(1.0)), "{:?}", total(1.0));
    assert!((2 * HOUR..=4 * HOUR).contains(&total(0.0)), "{:?}", total(0.0));
}

#[test]
fn backoffs_that_make_no_sense_are_refused() {
    let year = Duration::from_secs(366 * 86_400);
    let exponential = |factor| Backoff::exponential(SECOND, factor, HOUR);
    for (backoff, text) in [
        (exponential(0.5), "backoff factor: 0.5 is not allowed: 1 to 1000"),
        (exponential(1000.5), "backoff factor: 1000.5 is not allowed: 1 to 1000"),
        (exponential(f64::NAN), "backoff factor: NaN is not allowed: 1 to 1000"),
        (Backoff::fixed(SECOND).with_jitter(1.5), "backoff jitter: 1.5 is not allowed: 0 to 1"),
        (Backoff::fixed(SECOND).with_jitter(f64::NAN), "backoff jitter: NaN is not allowed: 0 to 1"),
        (Backoff::fixed(year + SECOND), "delay: 31622401 s is not allowed: at most 31622400 s (366 days)"),
    ] {
        let error = backoff.check().unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, text.to_owned()));
    }
    for backoff in [exponential(1.0), exponential(1000.0), Backoff::fixed(year), Backoff::default()] {
        backoff.check().unwrap();
    }
}

#[test]
fn texts_that_are_no_backoff_are_refused() {
    for text in [
        "",
        "fixed",
        "fixed 1 1 1",
        "fixed 1 1 1 0 0",
        "fixed  1 1 1 0",
        "never 1 1 1 0",
        "fixed x 1 1 0",
        "fixed -1 1 1 0",
        "fixed 1 1 x 0",
        "fixed 1 1 1 x",
        "fixed 1 1 1 2",
        "exponential 1 x 1 0",
        "exponential 1 0.5 1 0",
        "exponential 1 NaN 1 0",
        "fixed 1 1 99999999999 0",
    ] {
        assert_eq!(text.parse::<Backoff>().map_err(|error| error.kind()), Err(ErrorKind::Invalid), "{text:?}");
    }
}

#[test]
fn decisions() {
    const fn error(retry_after: Option<Duration>) -> FailureClass {
        FailureClass::Error { retry_after }
    }
    let year = Duration::from_secs(366 * 86_400);
    let policy = ExecutionPolicy { max_retries: 2, backoff: Backoff::linear(SECOND, HOUR), ..Default::default() };
    let table = [
        (error(None), 0, Decision::Retry(SECOND)),
        (error(None), 1, Decision::Retry(2 * SECOND)),
        (error(None), 2, Decision::GiveUp),
        (error(None), u32::MAX, Decision::GiveUp),
        (error(Some(HOUR)), 1, Decision::Retry(HOUR)),
        (error(Some(Duration::ZERO)), 1, Decision::Retry(Duration::ZERO)),
        (error(Some(Duration::MAX)), 1, Decision::Retry(year)),
        (error(Some(HOUR)), 2, Decision::GiveUp),
        (FailureClass::Timeout, 1, Decision::Retry(2 * SECOND)),
        (FailureClass::Panic, 1, Decision::Retry(2 * SECOND)),
        (FailureClass::Permanent, 0, Decision::GiveUp),
    ];
    for (class, failures, expected) in table {
        let progress = Progress { failures, ..Progress::default() };
        assert_eq!(decide(class, progress, &policy, NOW, 0.0), expected, "{class:?} after {failures}");
    }
}

#[test]
fn what_is_retried_as_text() {
    let on = |errors, timeouts, panics| RetryOn { errors, timeouts, panics };
    for (text, expected, printed) in [
        ("errors,timeouts,panics", on(true, true, true), "errors,timeouts,panics"),
        (" panics , errors ", on(true, false, true), "errors,panics"),
        ("timeouts,", on(false, true, false), "timeouts"),
        ("", on(false, false, false), ""),
    ] {
        assert_eq!(text.parse::<RetryOn>().unwrap(), expected, "{text:?}");
        assert_eq!(expected.to_string(), printed);
    }
    let error = "errors,never".parse::<RetryOn>().unwrap_err();
    assert_eq!(error.to_string(), "retry-on: \"never\" is not allowed: errors, timeouts, panics");
    assert_eq!(RetryOn::default(), on(true, true, true));
}

#[test]
fn a_run_ends_at_its_timeout_or_at_the_deadline() {
    let s = |seconds: Option<u64>| seconds.map(Duration::from_secs);
    // timeout, soft timeout, time until the deadline -> soft, hard
    for (timeout, soft, left, expected) in [
        (None, None, None, (None, None)),
        (Some(30), None, None, (None, Some(30))),
        (Some(30), Some(20), None, (Some(20), Some(30))),
        (Some(30), Some(30), None, (None, Some(30))),
        (Some(30), Some(40), None, (None, Some(30))),
        (None, Some(20), None, (Some(20), None)),
        (None, None, Some(10), (None, Some(10))),
        (Some(30), None, Some(10), (None, Some(10))),
        (Some(30), None, Some(60), (None, Some(30))),
        (Some(30), Some(20), Some(10), (None, Some(10))),
        (None, Some(20), Some(60), (Some(20), Some(60))),
        (Some(30), Some(20), Some(0), (None, Some(0))),
    ] {
        let policy = ExecutionPolicy {
            timeout: s(timeout),
            soft_timeout: s(soft),
            deadline: s(left).map(|left| NOW.plus(left)),
            ..ExecutionPolicy::default()
        };
        let expected = Limits { soft: s(expected.0), hard: s(expected.1) };
        assert_eq!(limits(&policy, NOW), expected, "{timeout:?} {soft:?} {left:?}");
    }
    let passed = ExecutionPolicy { deadline: Some(Timestamp::from_micros(0)), ..ExecutionPolicy::default() };
    assert_eq!(limits(&passed, NOW).hard, Some(Duration::ZERO), "a deadline that has passed leaves no time");
}

#[test]
fn a_policy_takes_what_the_options_name_and_keeps_the_rest() {
    let base = ExecutionPolicy { timeout: Some(HOUR), deadline: Some(NOW), ..ExecutionPolicy::default() };
    assert_eq!(base.with(&Options::default(), NOW), base);
    let options = Options {
        expires: Some(HOUR),
        deadline: Some(NOW.plus(HOUR)),
        max_retries: Some(1),
        backoff: Some(Backoff::fixed(SECOND)),
        retry_on: Some(RetryOn { panics: false, ..RetryOn::default() }),
        timeout: Some(SECOND),
        soft_timeout: Some(SECOND / 2),
        status_ttl: Some(Retention::For(HOUR)),
        result_ttl: Some(Retention::For(SECOND)),
        ..Options::default()
    };
    let expected = ExecutionPolicy {
        expires_at: Some(NOW.plus(HOUR)),
        deadline: Some(NOW.plus(HOUR)),
        max_retries: 1,
        backoff: Backoff::fixed(SECOND),
        retry_on: RetryOn { errors: true, timeouts: true, panics: false },
        timeout: Some(SECOND),
        soft_timeout: Some(SECOND / 2),
        status_ttl: Retention::For(HOUR),
        result_ttl: Retention::For(SECOND),
        max_losses: base.max_losses,
        max_snoozes: base.max_snoozes,
        max_parks: base.max_parks,
        park_delay: base.park_delay,
    };
    assert_eq!(base.with(&options, NOW), expected);
}

#[test]
fn a_result_is_never_kept_longer_than_the_state() {
    use Retention::{For, Forever, None as Never};
    let base = ExecutionPolicy { status_ttl: For(HOUR), result_ttl: For(SECOND), ..ExecutionPolicy::default() };
    for (status, result, expected) in [
        (None, None, (For(HOUR), For(SECOND))),
        (Some(For(2 * HOUR)), None, (For(2 * HOUR), For(2 * HOUR))),
        (Some(Forever), None, (Forever, Forever)),
        (Some(Never), None, (Never, Never)),
        (None, Some(Forever), (For(HOUR), For(HOUR))),
        (None, Some(Never), (For(HOUR), Never)),
        (Some(Never), Some(Forever), (Never, Never)),
        (Some(Forever), Some(For(SECOND)), (Forever, For(SECOND))),
    ] {
        let options = Options { status_ttl: status, result_ttl: result, ..Options::default() };
        let policy = base.with(&options, NOW);
        assert_eq!((policy.status_ttl, policy.result_ttl), expected, "status {status:?}, result {result:?}");
    }
}

proptest! {
    #[test]
    fn no_pause_is_longer_than_the_cap(backoff in backoff(), retry in any::<u32>(), random in 0.0..=1.0_f64) {
        prop_assert!(backoff.pause(retry, random) <= backoff.cap);
    }

    #[test]
    fn without_jitter_no_pause_is_shorter_than_the_one_before(backoff in backoff(), retry in 1..u32::MAX) {
        let backoff = backoff.with_jitter(0.0);
        prop_assert!(backoff.pause(retry, 0.0) <= backoff.pause(retry + 1, 0.0));
    }

    #[test]
    fn jitter_only_shortens_and_only_by_its_share(backoff in backoff(), retry in any::<u32>(), random in 0.0..=1.0_f64) {
        let full = backoff.with_jitter(0.0).pause(retry, 0.0);
        let least = full.mul_f64(1.0 - backoff.jitter).saturating_sub(Duration::from_micros(1));
        let pause = backoff.pause(retry, random);
        prop_assert!((least..=full).contains(&pause), "{pause:?} is not within {least:?} and {full:?}");
    }

    #[test]
    fn a_backoff_comes_back_from_its_text(backoff in backoff()) {
        prop_assert_eq!(backoff.to_string().parse::<Backoff>().unwrap(), backoff);
    }

    #[test]
    fn what_is_retried_comes_back_from_its_text(on in retry_on()) {
        prop_assert_eq!(on.to_string().parse::<RetryOn>().unwrap(), on);
    }

    #[test]
    fn an_unchecked_backoff_does_not_panic(
        base in any::<u64>(), cap in any::<u64>(), factor in 0.0..1e300_f64, jitter in -9.0..9.0_f64, retry in any::<u32>(),
    ) {
        let (base, cap) = (Duration::from_secs(base), Duration::from_secs(cap));
        for backoff in [Backoff::fixed(base), Backoff::linear(base, cap), Backoff::exponential(base, factor, cap)] {
            let pause = backoff.with_jitter(jitter).pause(retry, 0.5);
            prop_assert!(pause <= Duration::from_secs(366 * 86_400), "{pause:?}");
        }
    }
}
