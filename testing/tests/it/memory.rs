//! What the memory adapters do beyond the suites: virtual time, and nothing left behind.

use std::time::Duration;

use tokio::time::{Instant, advance};
use windlass_core::{
    Backend, Broker, Clock, Delivery, Disposition, FetchRequest, Message, Record, Retention, Schedule, SettleOutcome,
    Settlement, State, TaskId,
};
use windlass_testing::{MemoryBackend, MemoryBroker, TokioClock, fixture};

const DAY: Duration = Duration::from_secs(86_400);
const LEASE: Duration = Duration::from_secs(30);

async fn fetch(broker: &MemoryBroker, message: &Message) -> Vec<Delivery> {
    broker.fetch(&FetchRequest::new(message.queue.clone(), 100, LEASE)).await.unwrap()
}

fn settlement(delivery: &Delivery, disposition: Disposition) -> Settlement {
    Settlement {
        receipt: delivery.receipt.clone(),
        disposition,
        progress: delivery.progress,
        state: State::Succeeded,
        remember: None,
        reason: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_a_year_passes_in_a_moment() {
    let broker = MemoryBroker::new();
    let (start, real) = (Instant::now(), std::time::Instant::now());
    let delay = 365 * DAY;
    let schedule = Schedule::At(TokioClock.now().plus(delay));
    let message = Message { schedule, ..fixture::message(&fixture::queue(), "[]") };
    broker.publish(std::slice::from_ref(&message)).await.unwrap();
    broker.ready(&message.queue, delay - Duration::from_secs(1)).await.unwrap();
    assert!(fetch(&broker, &message).await.is_empty(), "a second too early");
    broker.ready(&message.queue, DAY).await.unwrap();
    assert_eq!(fetch(&broker, &message).await.len(), 1);
    assert!(start.elapsed() < delay + Duration::from_millis(10), "told when it was due: {:?}", start.elapsed());
    assert!(real.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_told_when_a_lease_runs_out() {
    let broker = MemoryBroker::new();
    let message = fixture::message(&fixture::queue(), "[]");
    broker.publish(std::slice::from_ref(&message)).await.unwrap();
    assert_eq!(fetch(&broker, &message).await.len(), 1);
    let start = Instant::now();
    broker.ready(&message.queue, DAY).await.unwrap();
    assert!((LEASE..LEASE + Duration::from_millis(10)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(fetch(&broker, &message).await[0].progress.losses, 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_learns_of_a_time_that_is_earlier_than_the_one_it_waits_for() {
    let broker = MemoryBroker::new();
    let at = |seconds| Schedule::After(Duration::from_secs(seconds));
    let late = Message { schedule: at(3_600), ..fixture::message(&fixture::queue(), "late") };
    let early = Message { schedule: at(60), ..fixture::message(&late.queue, "early") };
    broker.publish(&[late]).await.unwrap();
    let waiting = [broker.clone(), broker.clone()].map(|broker| {
        let queue = early.queue.clone();
        tokio::spawn(async move { broker.ready(&queue, DAY).await })
    });
    advance(Duration::from_secs(1)).await;
    broker.publish(std::slice::from_ref(&early)).await.unwrap();
    let start = Instant::now();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(61), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_becomes_due_does_not_wake_everybody() {
    let broker = MemoryBroker::new();
    let schedule = Schedule::After(Duration::from_secs(1));
    let message = Message { schedule, ..fixture::message(&fixture::queue(), "[]") };
    broker.publish(std::slice::from_ref(&message)).await.unwrap();
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (broker, message) = (broker.clone(), message.clone());
        waiters.spawn(async move {
            let start = Instant::now();
            broker.ready(&message.queue, Duration::from_secs(10)).await.unwrap();
            let woken = start.elapsed() < Duration::from_secs(9);
            // A worker needs a moment between the two calls.
            tokio::time::sleep(Duration::from_millis(20)).await;
            (woken, fetch(&broker, &message).await.len())
        });
    }
    let ended = waiters.join_all().await;
    assert_eq!(ended.iter().filter(|(woken, _)| *woken).count(), 1);
    assert_eq!(ended.iter().map(|(_, fetched)| fetched).sum::<usize>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_holds_nothing_when_all_has_ended() {
    let broker = MemoryBroker::new();
    let messages = fixture::messages(&fixture::queue(), 100);
    broker.publish(&messages).await.unwrap();
    assert!(!broker.is_empty());
    let deliveries = fetch(&broker, &messages[0]).await;
    let ends = deliveries.iter().enumerate().map(|(index, delivery)| match index % 4 {
        0 => settlement(delivery, Disposition::DeadLetter),
        1 => Settlement { remember: Some(DAY), ..settlement(delivery, Disposition::Acknowledge) },
        _ => settlement(delivery, Disposition::Acknowledge),
    });
    let outcomes = broker.settle(&ends.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(outcomes, vec![SettleOutcome::Settled; 100]);
    assert!(!broker.is_empty(), "ids are remembered");
    advance(2 * DAY).await;
    let page = broker.dead_letters(&messages[0].queue, None, 100).await.unwrap();
    assert_eq!(page.letters.len(), 25);
    advance(40 * DAY).await;
    assert!(broker.is_empty(), "{broker:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_leaves_nothing_behind() {
    let (broker, backend) = (MemoryBroker::new(), MemoryBackend::new());
    broker.ready(&fixture::queue(), DAY).await.unwrap();
    let queue = fixture::queue();
    let dropped = tokio::time::timeout(Duration::from_secs(1), broker.ready(&queue, DAY)).await;
    assert!(dropped.is_err() && broker.is_empty());
    let id = fixture::task_id();
    let dropped = tokio::time::timeout(Duration::from_secs(1), backend.wait(&id, DAY)).await;
    assert!(dropped.is_err() && backend.is_empty());
    assert_eq!(backend.wait(&id, DAY).await.unwrap(), None);
    assert!(backend.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_backend_holds_nothing_when_all_has_ended() {
    let backend = MemoryBackend::new();
    let keep = |span| Retention::For(span);
    let records: Vec<Record> = (1..=100_u32)
        .map(|hours| {
            let (status_ttl, result_ttl) = (keep(hours * DAY / 24), keep(hours * DAY / 48));
            Record { status_ttl, result_ttl, ..fixture::record(State::Succeeded) }
        })
        .collect();
    backend.save(&records).await.unwrap();
    let ids: Vec<TaskId> = records.iter().map(|record| record.id.clone()).collect();
    advance(50 * DAY / 24).await;
    let left: Vec<Record> = backend.load(&ids).await.unwrap().into_iter().flatten().collect();
    assert_eq!(left.len(), 50);
    assert!(left.iter().all(|record| record.result.is_none()), "all results have ended");
    advance(51 * DAY / 24).await;
    assert!(backend.is_empty(), "{backend:?}");
}

#[tokio::test]
async fn raw_bytes_are_delivered_as_they_are() {
    let broker = MemoryBroker::new();
    let message = fixture::message(&fixture::queue(), "[]");
    broker.push_raw(&message.queue, &message.id, "windlass/2 add\n\n[]");
    let delivery = fetch(&broker, &message).await.remove(0);
    let undecodable = delivery.content.unwrap_err();
    assert_eq!(undecodable.bytes, "windlass/2 add\n\n[]");
    assert_eq!(undecodable.malformed, windlass_core::message::wire::Malformed::Newer { found: 2 });
}

#[tokio::test]
async fn a_strange_cursor_is_refused() {
    let error = MemoryBroker::new().dead_letters(&fixture::queue(), Some("x"), 10).await.unwrap_err();
    assert_eq!(error.to_string(), "cursor: \"x\" is not allowed: one of a page");
}

#[tokio::test]
async fn a_step_costs_the_same_with_a_large_backlog() {
    let broker = MemoryBroker::new();
    let queue = fixture::queue();
    let backlog = |schedule| {
        let message = move |message| Message { schedule, ..message };
        fixture::messages(&queue, 100_000).into_iter().map(message).collect::<Vec<_>>()
    };
    let one = |broker: MemoryBroker| {
        let message = fixture::message(&queue, "[]");
        async move {
            let start = std::time::Instant::now();
            for _ in 0..1_000 {
                let delivery = fetch_one(&broker, &message).await;
                broker.settle(&[settlement(&delivery, Disposition::Requeue { after: Duration::ZERO })]).await.unwrap();
            }
            start.elapsed()
        }
    };
    broker.publish(&fixture::messages(&queue, 10)).await.unwrap();
    let small = one(broker.clone()).await;
    broker.publish(&backlog(Schedule::Now)).await.unwrap();
    broker.publish(&backlog(Schedule::After(DAY))).await.unwrap();
    let large = one(broker.clone()).await;
    // A step that walks over the backlog would be a thousand times slower.
    assert!(large < 50 * small + Duration::from_millis(100), "{small:?} and {large:?} for a thousand steps");
}

async fn fetch_one(broker: &MemoryBroker, message: &Message) -> Delivery {
    let request = FetchRequest::new(message.queue.clone(), 1, LEASE);
    broker.fetch(&request).await.unwrap().remove(0)
}
