use std::time::Duration;

use windlass_core::policy::Backoff as CoreBackoff;
use windlass_core::{IntoDuration, Priority, QueueName, Retention as CoreRetention, RetryOn, TaskName, limits};

use super::*;

const SPANS: [&str; 26] = [
    "0",
    "5",
    " 30s ",
    "1ms",
    "1s",
    "2m",
    "3h",
    "4d",
    "1h30m",
    "1m30s5ms",
    "1h1h",
    "",
    " ",
    "s",
    "-5s",
    "+5",
    "+5s",
    "1.5s",
    "1 s",
    "1x",
    "1S",
    "30sx",
    "99999999999999999999s",
    "18446744073709551615",
    "18446744073709551615ms",
    "18446744073709551615d",
];

#[test]
fn spans_are_those_of_core() {
    for text in SPANS {
        assert_eq!(span(text).ok(), text.into_duration().ok(), "{text:?}");
    }
    let refused = span("-5s").unwrap_err();
    assert_eq!(format!("duration: {refused}"), "-5s".into_duration().unwrap_err().to_string());
}

#[test]
fn limits_are_more_than_nothing_and_delays_have_an_end() {
    assert_eq!(limit("1ms"), Ok(Duration::from_millis(1)));
    assert_eq!(limit("0s"), Err("\"0s\" is not allowed: more than 0".to_owned()));
    assert_eq!(delay("0s"), Ok(Duration::ZERO));
    assert_eq!(delay("366d"), Ok(limits::DELAY));
    assert_eq!(delay("367d"), Err("\"367d\" is not allowed: at most 366d".to_owned()));
}

#[test]
fn retentions_are_those_of_core() {
    for text in SPANS.into_iter().chain(["none", "forever", "None", "never"]) {
        let ours = retention(text).ok().map(|ttl| match ttl {
            Retention::None => CoreRetention::None,
            Retention::For(span) => CoreRetention::For(span),
            Retention::Forever => CoreRetention::Forever,
        });
        assert_eq!(ours, CoreRetention::from_setting(text).ok(), "{text:?}");
    }
}

#[test]
fn names_are_those_of_core() {
    let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
    let names = [
        "add", "math:add", "A.b_c-9", "", " ", "a b", "a/b", "{x}", "amq.x", "amq", "\0", "\n", "😀", "א", "../", "*",
        ".", &longest, &too_long,
    ];
    for name in names {
        assert_eq!(task_name(name).is_ok(), TaskName::new(name).is_ok(), "task {name:?}");
        assert_eq!(queue_name(name).is_ok(), QueueName::new(name).is_ok(), "queue {name:?}");
    }
    assert_eq!(format!("queue: {}", queue_name("a:b").unwrap_err()), QueueName::new("a:b").unwrap_err().to_string());
}

#[test]
fn priorities_are_those_of_core() {
    let names = Priority::ALL.map(Priority::as_str);
    for text in names.into_iter().chain(["", "High", " high", "urgent", "9"]) {
        let core = text.parse::<Priority>();
        assert_eq!(priority(text).ok(), core.as_ref().ok().map(|priority| priority.as_str()), "{text:?}");
        if let (Err(ours), Err(core)) = (priority(text), core) {
            assert_eq!(format!("priority: {ours}"), core.to_string());
        }
    }
}

#[test]
fn retry_on_is_that_of_core() {
    for text in ["errors", "errors, timeouts", "timeouts,panics", "", "errors,", "error", "all"] {
        let ours = retry_on(text).ok().map(|[errors, timeouts, panics]| RetryOn { errors, timeouts, panics });
        assert_eq!(ours, text.parse::<RetryOn>().ok(), "{text:?}");
    }
}

#[test]
fn backoffs_are_read_in_all_forms() {
    let second = Duration::from_secs(1);
    let fixed = Backoff { growth: Growth::Fixed, base: second, cap: second, jitter: None };
    assert_eq!(backoff("fixed 1s"), Ok(fixed));
    let linear = Backoff { growth: Growth::Linear, base: second, cap: 60 * second, jitter: Some(0.5) };
    assert_eq!(backoff("linear 1s 1m jitter 0.5"), Ok(linear));
    let growth = Growth::Exponential(1.5);
    assert_eq!(
        backoff(" exponential  1s 1.5 1m "),
        Ok(Backoff { growth, base: second, cap: 60 * second, jitter: None })
    );
}

#[test]
fn backoffs_that_core_would_refuse_are_refused() {
    for text in [
        "",
        "1s",
        "fixed",
        "fixed 1s 2s",
        "fixed 1x",
        "exponential 1s 1h",
        "exponential 1s 0.5 1h",
        "exponential 1s 1001 1h",
        "exponential 1s NaN 1h",
        "fixed 1s jitter",
        "fixed 1s jitter 2",
        "fixed 367d",
        "linear 1s 367d",
        "none",
        "Fixed 1s",
    ] {
        assert!(backoff(text).is_err(), "{text:?}");
    }
    assert!(CoreBackoff::exponential(Duration::from_secs(1), 1001.0, Duration::from_secs(1)).check().is_err());
}
