//! What a hostile reading found: flows over a worker or a broker that cannot do all of it.

use std::sync::Arc;

use tokio::time::sleep;
use windlass_core::broker::Overflow;
use windlass_core::flow::map;
use windlass_core::{Broker, ErrorKind, QueueLimit};
use windlass_runtime::{Client, ClientSettings, ResultError};
use windlass_testing::{MemoryBackend, MemoryBroker, TokioClock};

use crate::flow::{ADD, DOUBLE, TOLD, tasks};
use crate::ledger::Plain;
use crate::support::{HOUR, Log, WORK, builder, client, default_queue, secs, until};

/// A worker that cannot see to flows must not hold their messages, nor stop because of them.
#[tokio::test(start_paused = true)]
async fn a_worker_without_a_backend_does_not_stand_still_because_of_flows() {
    let (broker, backend, runs) = (MemoryBroker::new(), Arc::new(MemoryBackend::new()), Log::new());
    let whole = client(Arc::new(broker.clone()), Some(backend as _));
    let members = map(0..2000, |n| ADD.call((n, 1)).expires("10s"));
    whole.enqueue_flow(members).await.unwrap();
    sleep(secs(11)).await;
    let bare = client(Arc::new(broker.clone()), None);
    let log = runs.clone();
    let work = move |n: u32| {
        log.push(n);
        async move { n }
    };
    let _worker = builder(&bare).register_fn(WORK, work).register_fn(ADD, async |a: i64, b: i64| a + b).start().await;
    sleep(secs(60)).await;
    bare.enqueue(WORK.call((7,))).await.unwrap();
    until("the plain task runs", || runs.len() == 1).await;
    until("nothing is held", || broker.counts().running == 0).await;
}

/// What was never published is over when its turn comes.
#[tokio::test(start_paused = true)]
async fn a_member_that_is_cancelled_before_its_turn_does_not_hang_the_flow_over_a_broker_that_cannot_cancel() {
    let (broker, backend, runs) = (MemoryBroker::new(), Arc::new(MemoryBackend::new()), Log::new());
    let client = client(Arc::new(Plain(broker)), Some(backend as _));
    let _worker = tasks(&runs)(builder(&client)).start().await.unwrap();
    let flow = ADD.call((2000, 0)).then(DOUBLE.step(())).then(DOUBLE.step(()));
    let handle = client.enqueue_flow(flow.id("f")).await.unwrap();
    let member = handle.task::<i64>(1).await.unwrap().unwrap();
    member.cancel().await.unwrap();
    let ended = handle.result_within(HOUR * 24).await;
    assert!(!matches!(ended, Err(ResultError::Timeout { .. })), "{ended:?}; {:?}", handle.progress().await);
}

/// Neither of the two was enqueued.
#[tokio::test(start_paused = true)]
async fn a_second_call_of_an_id_for_which_there_was_no_room_is_told_so_too() {
    let mut settings = ClientSettings::default();
    settings.limits.insert(default_queue(), QueueLimit { max: 1, overflow: Overflow::Reject });
    let plain = Arc::new(Plain(MemoryBroker::new()));
    let client = Client::with_clock(plain, Some(Arc::new(MemoryBackend::new()) as _), settings, Arc::new(TokioClock));
    client.enqueue(WORK.call((0,))).await.unwrap();
    for answer in client.enqueue_many([WORK.call((1,)).id("a"), WORK.call((1,)).id("a")]).await {
        assert_eq!(answer.map(|handle| handle.is_new()).unwrap_err().kind(), ErrorKind::Full);
    }
}

/// What a worker could not go on with waits among the dead letters for one that can.
#[tokio::test(start_paused = true)]
async fn a_workflow_that_a_worker_cannot_see_to_goes_on_when_it_is_put_back() {
    let (broker, backend, runs) = (MemoryBroker::new(), Arc::new(MemoryBackend::new()), Log::new());
    let whole = client(Arc::new(broker.clone()), Some(backend as _));
    let call = ADD.call((1, 1)).expires("10s").on_failure(TOLD.step(("late".to_owned(),)));
    let handle = whole.enqueue_flow(call).await.unwrap();
    sleep(secs(11)).await;
    let bare = builder(&client(Arc::new(broker.clone()), None)).register_fn(ADD, async |a: i64, b: i64| a + b);
    let bare = bare.start().await.unwrap();
    until("it is put aside", || broker.counts().dead == 1).await;
    let letter = broker.dead_letters(&default_queue(), None, 1).await.unwrap().letters.remove(0);
    assert!(letter.reason.contains("what follows from it cannot be done"), "{}", letter.reason);
    bare.shutdown().await;
    let _worker = tasks(&runs)(builder(&whole)).start().await.unwrap();
    assert_eq!(whole.replay(&default_queue(), &[letter.id]).await.unwrap(), 1);
    assert!(matches!(handle.result().await, Err(ResultError::Expired { .. })));
    until("who follows is told", || runs.all().iter().any(|run| run.starts_with("told late"))).await;
    until("nothing is left", || broker.counts().dead + broker.counts().running == 0).await;
}
