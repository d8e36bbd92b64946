//! From keys to options.

use std::time::Duration;

use windlass::task;
use windlass_core::{Backoff, Options, Priority, Retention, RetryOn, Task};

#[task]
async fn plain() {}

#[test]
fn without_keys_nothing_is_asked_for() {
    assert_eq!(plain::NAME, "plain");
    assert_eq!(plain::options(), Options::default());
}

#[task(
    name = "math:add",
    queue = "math",
    priority = "high",
    max_retries = 5,
    timeout = "30s",
    soft_timeout = "20s",
    expires = "1h",
    delay = "5",
    result_ttl = "1h30m",
    status_ttl = "forever",
    backoff = "exponential 1s 3 1h",
    retry_on = "errors, timeouts"
)]
async fn all() {}

#[test]
fn every_key_reaches_its_option() {
    let hour = Duration::from_secs(3600);
    let expected = Options {
        queue: Some("math".parse().unwrap()),
        priority: Some(Priority::High),
        delay: Some(Duration::from_secs(5)),
        expires: Some(hour),
        max_retries: Some(5),
        backoff: Some(Backoff::exponential(Duration::from_secs(1), 3.0, hour)),
        retry_on: Some(RetryOn { errors: true, timeouts: true, panics: false }),
        timeout: Some(Duration::from_secs(30)),
        soft_timeout: Some(Duration::from_secs(20)),
        status_ttl: Some(Retention::Forever),
        result_ttl: Some(Retention::For(hour * 3 / 2)),
        ..Options::default()
    };
    assert_eq!(all::NAME, "math:add");
    assert_eq!(all::options(), expected);
}

#[test]
fn the_options_of_the_task_travel_beside_those_of_the_call() {
    let parts = all::call().max_retries(1).into_parts().unwrap();
    assert_eq!(parts.task_options, all::options());
    assert_eq!(parts.options, Options { max_retries: Some(1), ..Options::default() });
}

const PAUSE: Duration = Duration::from_millis(1500);

#[task(backoff = Backoff::fixed(PAUSE).with_jitter(0.5), result_ttl = "none", retry_on = "")]
async fn expression() {}

#[task(backoff = "linear 1500ms 1m jitter 0.5", result_ttl = "forever", max_retries = 0)]
async fn linear() {}

#[task(backoff = "fixed 10s", status_ttl = "0s", max_retries = 1_000)]
fn fixed() {}

#[test]
fn backoffs_retentions_and_what_is_retried() {
    let asked = |options: Options| (options.backoff.unwrap(), options.status_ttl, options.result_ttl);
    let half = Backoff::fixed(PAUSE).with_jitter(0.5);
    assert_eq!(asked(expression::options()), (half, None, Some(Retention::None)));
    let linear_backoff = Backoff::linear(PAUSE, Duration::from_secs(60)).with_jitter(0.5);
    assert_eq!(asked(linear::options()), (linear_backoff, None, Some(Retention::Forever)));
    assert_eq!(asked(fixed::options()), (Backoff::fixed(Duration::from_secs(10)), Some(Retention::None), None));
    let nothing = RetryOn { errors: false, timeouts: false, panics: false };
    assert_eq!(expression::options().retry_on, Some(nothing));
    assert_eq!((linear::options().max_retries, fixed::options().max_retries), (Some(0), Some(1000)));
}
