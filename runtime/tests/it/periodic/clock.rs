//! Clocks that jump, and schedulers that were stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use windlass_core::Timestamp;
use windlass_core::periodic::tick_id;
use windlass_runtime::periodic::{MissedTicks, Periodic};
use windlass_runtime::{Client, ClientSettings};
use windlass_testing::ManualClock;
use windlass_testing::fault::BrokerCall;

use super::fleet::{Chaos, Fleet, Running, report};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const START: Timestamp = Timestamp::from_micros(1_772_323_200_000_000);

fn fleet() -> (Fleet, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    (Fleet::with_clock(Arc::clone(&clock) as _), clock)
}

/// Long enough for every scheduler to look at its clock, and to take over what nobody sees to.
async fn settle() {
    for _ in 0..50 {
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_forward_is_no_storm() {
    let (fleet, clock) = fleet();
    for (name, missed) in [("once", MissedTicks::Once), ("all", MissedTicks::All { max: 5 })] {
        fleet.tasks.add(Periodic::every("1m").named(name).missed(missed), report()).await.unwrap();
    }
    let scheduler = fleet.scheduler();
    settle().await;
    clock.advance(DAY * 300 + MINUTE / 2);
    settle().await;
    assert_eq!(fleet.waiting().len(), 6, "{:?}", fleet.waiting());
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_jump_back_repeats_nothing_and_a_clock_that_was_wrong_stops_nothing() {
    let (fleet, clock) = fleet();
    fleet.tasks.add(Periodic::every("1m").named("x"), report()).await.unwrap();
    let scheduler = fleet.scheduler();
    clock.advance(MINUTE * 60);
    settle().await;
    assert_eq!(fleet.waiting().len(), 1);
    // Back by half an hour: the half hour that is lived twice brings nothing.
    clock.set(START.plus(MINUTE * 30));
    settle().await;
    clock.set(START.plus(MINUTE * 60));
    settle().await;
    assert_eq!(fleet.waiting().len(), 1);
    clock.set(START.plus(MINUTE * 61));
    settle().await;
    assert_eq!(fleet.waiting().len(), 2);
    // A year ahead for a moment, and back: the entry does not wait for a year.
    clock.set(START.plus(DAY * 365));
    settle().await;
    assert_eq!(fleet.waiting().len(), 3);
    clock.set(START.plus(MINUTE * 62));
    sleep(MINUTE * 6).await;
    assert_eq!(fleet.waiting().len(), 3);
    clock.set(START.plus(MINUTE * 64));
    settle().await;
    assert_eq!(fleet.waiting().len(), 4, "{:?}", fleet.waiting());
    let id = tick_id("x", START.plus(MINUTE * 64)).unwrap().to_string();
    assert!(fleet.waiting().contains(&id));
    scheduler.stop().await;
}

/// Runs a scheduler in a process of its own for a while; this thread stands still meanwhile.
fn elsewhere(fleet: &Fleet, clock: &Arc<ManualClock>) -> impl FnOnce() + Send + use<> {
    let (broker, backend, clock) = (fleet.broker.clone(), fleet.backend.clone(), Arc::clone(clock));
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let client =
                Client::with_clock(Arc::new(broker), Some(Arc::new(backend)), ClientSettings::default(), clock);
            let scheduler = Running::start(&client);
            settle().await;
            scheduler.stop().await;
        });
    };
    move || std::thread::spawn(run).join().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_was_stopped_for_days_publishes_nothing_that_others_have() {
    let (fleet, clock) = fleet();
    fleet.tasks.add(Periodic::every("1h").named("x"), report()).await.unwrap();
    clock.advance(MINUTE * 60);
    let id = tick_id("x", START.plus(MINUTE * 60)).unwrap().to_string();

    let node = fleet.node(Chaos::default());
    let (others, time) = (elsewhere(&fleet, &clock), Arc::clone(&clock));
    // It has claimed the tick, and is stopped before it publishes.
    node.backend.chaos.after_write(move || {
        others();
        time.advance(MINUTE * 10);
    });
    let scheduler = Running::start(&node.client);
    settle().await;
    assert_eq!(fleet.waiting(), [id], "the other one has taken it over");
    assert_eq!(node.broker.calls(BrokerCall::Publish), 0, "and this one must not rely on ids being remembered");
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_was_stopped_alone_claims_again_and_goes_on() {
    let (fleet, clock) = fleet();
    fleet.tasks.add(Periodic::every("1h").named("x"), report()).await.unwrap();
    clock.advance(MINUTE * 60);
    let node = fleet.node(Chaos::default());
    let time = Arc::clone(&clock);
    node.backend.chaos.after_write(move || time.advance(MINUTE * 10));
    let scheduler = Running::start(&node.client);
    settle().await;
    assert_eq!(fleet.waiting(), [tick_id("x", START.plus(MINUTE * 60)).unwrap().to_string()]);
    assert_eq!(node.broker.calls(BrokerCall::Publish), 1);
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tick_whose_task_has_ended_is_not_published_again() {
    let (fleet, clock) = fleet();
    fleet.tasks.add(Periodic::every("1h").named("x"), report()).await.unwrap();
    clock.advance(MINUTE * 60);
    // It publishes, and dies before it clears its claim.
    let node = fleet.node(Chaos::default());
    node.broker.lose_answer(BrokerCall::Publish, 1);
    let scheduler = Running::start(&node.client);
    sleep(Duration::from_secs(1)).await;
    scheduler.kill().await;
    let [(task, None)] = &fleet.broker.waiting()[..] else { panic!("{:?}", fleet.waiting()) };
    // Meanwhile somebody cancels the task, and with that the broker forgets its id.
    let handle = fleet.client.handle_of::<()>(task.id.clone(), task.queue.clone());
    handle.cancel().await.unwrap();
    assert!(fleet.waiting().is_empty());
    let scheduler = fleet.scheduler();
    settle().await;
    assert!(fleet.waiting().is_empty(), "it was cancelled: {:?}", fleet.waiting());
    clock.advance(MINUTE * 60);
    settle().await;
    assert_eq!(fleet.waiting().len(), 1, "the next one comes");
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claimed_tick_goes_to_the_queue_it_was_claimed_for() {
    let (fleet, clock) = fleet();
    fleet.tasks.add(Periodic::every("1h").named("x"), report()).await.unwrap();
    clock.advance(MINUTE * 60);
    let node = fleet.node(Chaos::default());
    node.broker.lose_answer(BrokerCall::Publish, 1);
    let scheduler = Running::start(&node.client);
    sleep(Duration::from_secs(1)).await;
    scheduler.kill().await;
    assert_eq!(fleet.waiting().len(), 1);
    fleet.tasks.change(Periodic::every("1h").named("x"), report().queue("elsewhere")).await.unwrap();
    let scheduler = fleet.scheduler();
    settle().await;
    assert_eq!(fleet.waiting().len(), 1, "another queue does not know its id: {:?}", fleet.waiting());
    clock.advance(MINUTE * 60);
    settle().await;
    let queues: Vec<String> = fleet.broker.waiting().iter().map(|(task, _)| task.queue.to_string()).collect();
    assert!(queues.contains(&"elsewhere".to_owned()), "{queues:?}");
    scheduler.stop().await;
}
