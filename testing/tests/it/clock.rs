//! The clocks show what they should.

use std::time::{Duration, SystemTime};

use windlass_core::{Clock, Timestamp};
use windlass_testing::{ManualClock, TokioClock};

#[test]
fn a_manual_clock_moves_only_by_hand() {
    let clock = ManualClock::new(Timestamp::from_micros(5));
    assert_eq!(clock.now(), clock.now());
    clock.advance(Duration::from_micros(3));
    assert_eq!(clock.now().as_micros(), 8);
    clock.set(Timestamp::from_micros(-1));
    assert_eq!(clock.now().as_micros(), -1);
}

#[test]
fn outside_of_a_paused_runtime_it_is_the_real_time() {
    let before: Timestamp = SystemTime::now().into();
    let now = TokioClock.now();
    let away = now.since(before).max(before.since(now));
    assert!(away < Duration::from_secs(5), "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn in_a_paused_runtime_it_moves_with_the_virtual_time() {
    let start = TokioClock.now();
    assert_eq!(TokioClock.now(), start);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(TokioClock.now(), start.plus(Duration::from_secs(86_400)));
}
