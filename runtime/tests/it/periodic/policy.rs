//! A day of ticks, and what becomes of those that were missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use windlass_core::broker::Overflow;
use windlass_core::periodic::tick_id;
use windlass_core::{QueueLimit, QueueName, Timestamp};
use windlass_runtime::periodic::{MissedTicks, Periodic};
use windlass_runtime::{Client, ClientSettings};

use super::fleet::{Fleet, Running, report};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_day_of_cron_brings_each_tick_once_and_in_time() {
    let fleet = Fleet::new();
    let begin = fleet.now();
    let quarter = || Periodic::cron("*/15 * * * *").tz("Asia/Kathmandu").named("quarter");
    fleet.tasks.add(quarter(), report()).await.unwrap();
    fleet.tasks.add(Periodic::cron("0 3 * * *").tz("Europe/Berlin").named("nightly"), report()).await.unwrap();
    let scheduler = fleet.scheduler();
    sleep(24 * HOUR).await;
    scheduler.stop().await;

    let expected =
        quarter().ticks(begin, 96).unwrap().into_iter().map(|tick| tick_id("quarter", tick).unwrap().to_string());
    let waiting = fleet.waiting();
    let (nightly, quarters): (Vec<String>, Vec<String>) = waiting.into_iter().partition(|id| id.starts_with("nightly"));
    assert_eq!(quarters, expected.collect::<Vec<_>>());
    assert_eq!(nightly.len(), 1, "{nightly:?}");
    for (task, _) in fleet.broker.waiting() {
        let tick = &task.options.headers["periodic.tick"];
        let tick: jiff::Timestamp = tick.parse().unwrap();
        let late = task.enqueued_at.as_micros() - tick.as_microsecond();
        assert!((0..50_000).contains(&late), "{} came {late} µs after its tick", task.id);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_of_all_schedulers_the_policy_decides() {
    let fleet = Fleet::new();
    let policies = [("skip", MissedTicks::Skip), ("once", MissedTicks::Once), ("all", MissedTicks::All { max: 4 })];
    for (name, missed) in policies {
        // A tick is half an hour old when the scheduler comes back.
        fleet.tasks.add(Periodic::every("1h").named(name).missed(missed), report()).await.unwrap();
    }
    let begin = fleet.now();
    sleep(HOUR * 10 + HOUR / 2).await;
    let scheduler = fleet.scheduler();
    sleep(Duration::from_secs(10)).await;
    let id = |name: &str, hour: u32| tick_id(name, begin.plus(HOUR * hour)).unwrap().to_string();
    let mut expected: Vec<String> = [7, 8, 9, 10].map(|hour| id("all", hour)).into();
    expected.push(id("once", 10));
    assert_eq!(fleet.waiting(), expected);
    // And then they go on as ever.
    sleep(HOUR).await;
    assert_eq!(fleet.waiting().len(), 8);
    assert!(fleet.waiting().contains(&id("skip", 11)));
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_loses_no_tick_and_brings_no_flood() {
    let fleet = Fleet::new();
    fleet.tasks.add(Periodic::every("1m").named("x"), report()).await.unwrap();
    let node = fleet.node(super::fleet::Chaos::default());
    let scheduler = Running::start(&node.client);
    node.broker.outage(true);
    sleep(HOUR).await;
    assert!(fleet.waiting().is_empty());
    node.broker.outage(false);
    sleep(Duration::from_secs(30)).await;
    // What was claimed first, and of all the others the newest.
    assert_eq!(fleet.waiting().len(), 2, "{:?}", fleet.waiting());
    sleep(Duration::from_secs(300)).await;
    assert_eq!(fleet.waiting().len(), 7);
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn overlapping_runs_are_not_prevented() {
    let fleet = Fleet::new();
    fleet.tasks.add(Periodic::every("1s").named("x"), report()).await.unwrap();
    let scheduler = fleet.scheduler();
    sleep(Duration::from_millis(10_500)).await;
    // Nobody runs them: each waits.
    assert_eq!(fleet.waiting().len(), 10);
    let mut ran = BTreeMap::new();
    fleet.run_all(&mut ran).await;
    assert_eq!(ran.len(), 10);
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tick_waits_for_room_in_a_full_queue() {
    let fleet = Fleet::new();
    let mut settings = ClientSettings::default();
    settings.limits.insert(QueueName::default(), QueueLimit { max: 1, overflow: Overflow::Reject });
    let client = Client::with_clock(
        Arc::new(fleet.broker.clone()),
        Some(Arc::new(fleet.backend.clone())),
        settings,
        Arc::clone(&fleet.clock),
    );
    fleet.client.enqueue(report()).await.unwrap();
    let begin = fleet.tasks.ensure(Periodic::every("1h").named("x"), report()).await.map(|_| fleet.now()).unwrap();
    let scheduler = Running::start(&client);
    sleep(HOUR + HOUR / 2).await;
    assert_eq!(fleet.waiting().len(), 1, "there is no room: {:?}", fleet.waiting());
    let mut ran = BTreeMap::new();
    fleet.run_all(&mut ran).await;
    sleep(Duration::from_secs(40)).await;
    let first = Timestamp::from_micros(begin.as_millis() * 1000).plus(HOUR);
    assert_eq!(fleet.waiting(), [tick_id("x", first).unwrap().to_string()], "it was not given up");
    scheduler.stop().await;
}
