//! Options: which level wins, and what calls refuse.

use std::time::{Duration, SystemTime};

use windlass_core::message::options::deserialize_duration;
use windlass_core::{Backoff, Call, ErrorKind, Options, Priority, Retention, RetryOn, TaskDef, Timestamp};

const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("math:add");

/// Checks one field with all four cases of "named above" and "named below".
macro_rules! precedence {
    ($($field:ident: $upper:expr, $lower:expr;)*) => {$(
        let upper = Options { $field: Some($upper), ..Options::default() };
        let lower = Options { $field: Some($lower), ..Options::default() };
        let none = Options::default();
        assert_ne!(upper, lower, "{}: the two must differ", stringify!($field));
        assert_eq!(upper.or(&lower), upper, "{}: the upper level wins", stringify!($field));
        assert_eq!(none.or(&lower), lower, "{}: the lower level fills the gap", stringify!($field));
        assert_eq!(upper.or(&none), upper, "{}: nothing below changes nothing", stringify!($field));
        assert_eq!(none.or(&none), none, "{}: nothing is nothing", stringify!($field));
    )*};
}

#[test]
fn the_upper_level_wins_in_every_field() {
    let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
    let at = Timestamp::from_micros;
    precedence! {
        queue: "a".parse().unwrap(), "b".parse().unwrap();
        priority: Priority::Normal, Priority::High;
        delay: one, two;
        run_at: at(1), at(2);
        expires: one, two;
        deadline: at(1), at(2);
        max_retries: 0, 2;
        backoff: Backoff::fixed(one), Backoff::fixed(two);
        retry_on: RetryOn { panics: false, ..RetryOn::default() }, RetryOn::default();
        timeout: two, one;
        soft_timeout: one, two;
        status_ttl: Retention::None, Retention::Forever;
        result_ttl: Retention::Forever, Retention::None;
    }
}

#[test]
fn headers_of_both_levels_are_kept_and_the_upper_wins() {
    let headers = |pairs: &[(&str, &str)]| Options {
        headers: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Options::default()
    };
    let upper = headers(&[("a", "upper"), ("b", "upper")]);
    let lower = headers(&[("b", "lower"), ("c", "lower")]);
    assert_eq!(upper.or(&lower), headers(&[("a", "upper"), ("b", "upper"), ("c", "lower")]));
}

#[test]
fn every_method_of_a_call_sets_its_option() {
    let at = Timestamp::from_micros(1);
    let second = Duration::from_secs(1);
    let call = ADD
        .call((2, 3))
        .id("invoice:1")
        .queue("math")
        .priority(Priority::Critical)
        .delay("1s")
        .run_at(at)
        .expires("1m")
        .deadline(SystemTime::UNIX_EPOCH)
        .max_retries(3)
        .backoff(Backoff::fixed(second))
        .retry_on(RetryOn { panics: false, ..RetryOn::default() })
        .timeout(second * 30)
        .soft_timeout("20")
        .status_ttl(Retention::Forever)
        .result_ttl(second)
        .header("a", "b");
    let parts = call.into_parts().unwrap();
    assert_eq!((parts.task.as_str(), &parts.payload[..]), ("math:add", &b"[2,3]"[..]));
    assert_eq!(parts.id.unwrap().to_string(), "invoice:1");
    assert_eq!(parts.task_options, Options::default());
    let expected = Options {
        queue: Some("math".parse().unwrap()),
        priority: Some(Priority::Critical),
        delay: Some(second),
        run_at: Some(at),
        expires: Some(second * 60),
        deadline: Some(Timestamp::from_micros(0)),
        max_retries: Some(3),
        backoff: Some(Backoff::fixed(second)),
        retry_on: Some(RetryOn { errors: true, timeouts: true, panics: false }),
        timeout: Some(second * 30),
        soft_timeout: Some(second * 20),
        status_ttl: Some(Retention::Forever),
        result_ttl: Some(Retention::For(second)),
        headers: [("a".to_owned(), "b".to_owned())].into(),
    };
    assert_eq!(parts.options, expected);
}

#[test]
fn a_call_tells_the_first_thing_that_is_wrong() {
    let spans = "a number and a unit (ms, s, m, h, d), such as 30s or 1h30m, not negative";
    let wrong: [(Call<i64>, String); 7] = [
        (ADD.call((2, 3)).delay("-5s").timeout("x"), format!("delay: \"-5s\" is not allowed: {spans}")),
        (ADD.call((2, 3)).timeout("x").delay("1s"), format!("timeout: \"x\" is not allowed: {spans}")),
        (ADD.call((2, 3)).soft_timeout(""), format!("soft_timeout: \"\" is not allowed: {spans}")),
        (ADD.call((2, 3)).expires("1y"), format!("expires: \"1y\" is not allowed: {spans}")),
        (
            ADD.call((2, 3)).backoff(Backoff::default().with_jitter(2.0)),
            "backoff jitter: 2 is not allowed: 0 to 1".into(),
        ),
        (
            ADD.call((2, 3)).queue("a:b"),
            "queue: \"a:b\" (character ':' at byte 1) is not allowed: 1 to 128 bytes of A-Z a-z 0-9 . _ -".into(),
        ),
        (
            TaskDef::<(), i64>::new("a b").call(()),
            "task name: \"a b\" (character ' ' at byte 1) is not allowed: 1 to 128 bytes of A-Z a-z 0-9 . _ -:".into(),
        ),
    ];
    for (call, text) in wrong {
        let error = call.into_parts().unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, text));
    }
}

#[test]
fn arguments_that_cannot_be_written_are_told() {
    let text_keys = std::collections::BTreeMap::from([(vec![1], 2)]);
    let def: TaskDef<(std::collections::BTreeMap<Vec<i32>, i32>,), ()> = TaskDef::new("odd");
    let error = def.call((text_keys,)).into_parts().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(error.to_string(), "arguments: cannot be encoded: key must be a string (task: odd)");
}

#[derive(Debug, serde::Deserialize)]
struct Setting {
    #[serde(deserialize_with = "deserialize_duration")]
    timeout: Duration,
}

#[test]
fn settings_take_texts_and_seconds() {
    let read = |json: &str| serde_json::from_str::<Setting>(json).map(|setting| setting.timeout);
    assert_eq!(read(r#"{"timeout":"1m30s"}"#).unwrap(), Duration::from_secs(90));
    assert_eq!(read(r#"{"timeout":90}"#).unwrap(), Duration::from_secs(90));
    let error = read(r#"{"timeout":-1}"#).unwrap_err().to_string();
    assert!(error.starts_with("\"-1\" is not allowed: a number and a unit"), "{error}");
}
