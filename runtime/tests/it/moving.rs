//! Tasks that are moved to another queue.

use windlass_core::{Backoff, ErrorKind, Priority, State};
use windlass_runtime::Queue;
use windlass_testing::Harness;
use windlass_testing::fault::BrokerCall;

use crate::support::{Log, WORK, secs, until};

fn queue(harness: &Harness, name: &str) -> Queue {
    harness.client().queue(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_waits_moves_with_its_id_its_urgency_and_its_order() {
    let harness = Harness::new();
    let calls = (0..1_100).map(|n| match n % 100 {
        0 => WORK.call((n,)).priority(Priority::High),
        _ => WORK.call((n,)),
    });
    let handles: Vec<_> = harness.client().enqueue_many(calls).await.into_iter().map(Result::unwrap).collect();
    let scheduled = harness.enqueue(WORK.call((7,)).delay("1h")).await.unwrap();
    assert_eq!(queue(&harness, "default").move_to("other").await.unwrap(), 1_100);
    let moved = harness.client().handle_of::<u32>(handles[5].id().clone(), "other".parse().unwrap());
    assert_eq!(moved.status().await.unwrap().unwrap().state, State::Queued);
    assert_eq!(scheduled.status().await.unwrap().unwrap().state, State::Scheduled);

    let log = Log::new();
    let runs = log.clone();
    let work = move |n: u32| {
        runs.push(n);
        async move { n }
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).queue("other", 1)).await;
    assert_eq!(handles[1_099].result().await.unwrap(), 1_099, "a handle from before finds the result");
    until("all have run", || log.len() == 1_100).await;
    let (urgent, normal) = ((0..11).map(|n| n * 100), (0..1_100).filter(|n| n % 100 != 0));
    let ran = log.all();
    let of = |urgent: bool| ran.iter().copied().filter(move |n| (n % 100 == 0) == urgent).collect::<Vec<u32>>();
    assert_eq!((of(true), of(false)), (urgent.collect(), normal.collect()));
    assert_eq!(worker.shutdown().await.succeeded, 1_100);
}

#[tokio::test(start_paused = true)]
async fn counts_begin_anew() {
    let harness = Harness::new();
    let handle = harness.enqueue(WORK.call((1,)).backoff(Backoff::fixed(secs(1))).max_retries(1)).await.unwrap();
    let fail = async |_: u32| Err::<u32, _>("no");
    let worker = harness.worker(|worker| worker.register_fn(WORK, fail)).await;
    until("it has failed once", || harness.broker().counts().scheduled == 1).await;
    worker.shutdown().await;
    harness.pass("2s").await;
    assert_eq!(queue(&harness, "default").move_to("other").await.unwrap(), 1);
    let attempt = |context: windlass_core::Context, _: u32| async move { context.attempt() };
    let worker = harness.worker(|worker| worker.register_fn(WORK, attempt).queue("other", 1)).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_move_that_was_cut_short_is_ended_by_a_second_one_and_nothing_runs_twice() {
    let harness = Harness::new();
    for n in 0..10 {
        harness.enqueue(WORK.call((n,))).await.unwrap();
    }
    // It has published them, and dies before it can say so here.
    harness.broker_faults().fail_before(BrokerCall::Settle, 1, ErrorKind::Unavailable);
    assert!(queue(&harness, "default").move_to("other").await.is_err());
    assert_eq!(harness.broker().counts().queued, 10);
    harness.pass("121s").await;
    assert_eq!(harness.broker().counts().queued, 20, "they are in both queues");
    assert_eq!(queue(&harness, "default").move_to("other").await.unwrap(), 10);
    let worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n).queue("other", 3)).await;
    harness.drain().await;
    assert_eq!(worker.shutdown().await.succeeded, 10);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_chosen_id_the_other_queue_has_stays_and_the_others_move() {
    let harness = Harness::new();
    harness.enqueue(WORK.call((1,)).id("x").queue("other")).await.unwrap();
    for call in [WORK.call((2,)).id("x"), WORK.call((3,)).id("y"), WORK.call((4,))] {
        assert!(harness.enqueue(call).await.unwrap().is_new());
    }
    assert_eq!(queue(&harness, "default").move_to("other").await.unwrap(), 2);
    let left: Vec<String> = harness
        .broker()
        .waiting()
        .into_iter()
        .filter(|(message, _)| message.queue.as_str() == "default")
        .map(|(message, _)| message.id.to_string())
        .collect();
    assert_eq!(left, ["x"]);
    assert_eq!(queue(&harness, "other").move_to("default").await.unwrap(), 2, "and back again");
}

#[tokio::test(start_paused = true)]
async fn what_the_other_queue_refuses_stays_and_what_it_took_is_gone() {
    let harness = Harness::new();
    for n in 0..3 {
        harness.enqueue(WORK.call((n,))).await.unwrap();
    }
    harness.broker_faults().fail_before(BrokerCall::Publish, 1, ErrorKind::Rejected);
    let error = queue(&harness, "default").move_to("other").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(harness.broker().counts().queued, 3, "all are here, none is claimed");
    assert_eq!(queue(&harness, "default").move_to("other").await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_move_that_makes_no_sense_is_refused() {
    let harness = Harness::new();
    for (other, parts) in [("default", ["\"default\"", "another queue"]), ("a b", ["\"a b\"", "byte 1"])] {
        let error = queue(&harness, "default").move_to(other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
        }
    }
    assert_eq!(harness.broker_faults().calls(BrokerCall::Fetch), 0);
}
