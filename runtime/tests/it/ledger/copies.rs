//! Messages that come more than once.

use super::*;

/// A crash between a copy and the acknowledgement leaves two messages: when the later one has begun,
/// the earlier one must not be held for as long as the connection.
#[tokio::test(start_paused = true)]
async fn fault_83_a_second_copy_that_is_superseded_is_removed() {
    let scene = Scene::new();
    let handle = scene.client.enqueue(WORK.call((1,))).await.unwrap();
    let request = FetchRequest::new(default_queue(), 1, secs(1));
    let lost = scene.broker.fetch(&request).await.unwrap().remove(0);
    let later = Record { token: Token(u64::MAX / 2), ..fixture::record(State::Running) };
    scene.backend.save(&[Record { id: lost.receipt.id, ..later }]).await.unwrap();
    let _worker = scene.worker().await;
    until("the superseded one is removed", || scene.is_done()).await;
    assert_eq!(scene.runs.len(), 0, "the later copy runs elsewhere");
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Running);
}

#[tokio::test(start_paused = true)]
async fn a_live_task_behind_many_that_have_ended_runs() {
    let scene = Scene::new();
    for n in 0..14 {
        scene.enqueue(&format!("gone-{n}"), n).await.cancel().await.unwrap();
    }
    let alive = scene.enqueue("alive", 99).await;
    // A call of a broker is given up after 30 s: were all of them looked into in one, that would be while
    // the live one is in hand.
    for nth in 1..=20 {
        scene.backend.delay(BackendCall::Load, nth, Duration::from_millis(2_100));
    }
    let runs = scene.runs.clone();
    let work = move |n: u32| {
        runs.push(n);
        async move { n }
    };
    // A claim that nobody knows of would last as long as the connection; here, as long as the lease.
    let worker = builder(&scene.client).concurrency(1).lease(HOUR).register_fn(WORK, work);
    let _worker = worker.start().await.unwrap();
    until_within("it runs", secs(600), || scene.runs.len() == 1).await;
    assert_eq!(scene.runs.all(), [99]);
    assert_eq!(alive.result().await.unwrap(), 99);
}

async fn until_within(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let start = tokio::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Two calls of one id that travel together, of which the first is refused: there is no task, so the
/// second must not be told that there is.
#[tokio::test(start_paused = true)]
async fn a_second_call_of_a_refused_id_is_refused_too() {
    let scene = Scene::new();
    let large = || windlass_core::Call::<u32>::raw("work", "x".repeat(200)).id("once");
    for answer in scene.client.enqueue_many([large(), large()]).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Rejected);
    }
    assert!(scene.enqueue("once", 1).await.is_new());
}

/// The first worker has saved and told how the task ended, and is lost before it can tell the broker.
#[tokio::test(start_paused = true)]
async fn who_takes_over_from_a_lost_worker_tells_how_the_task_ended() {
    let scene = Scene::new();
    let faulty = Arc::new(FaultyBroker::new(Arc::new(Plain(scene.broker.clone()))));
    let first = client(Arc::clone(&faulty) as _, Some(Arc::clone(&scene.backend) as _));
    let told = Log::new();
    let worker = |client: &windlass_runtime::Client, name: &'static str, cut: Option<Arc<FaultyBroker>>| {
        let (told, runs) = (told.clone(), scene.runs.clone());
        let work = move |n: u32| {
            runs.push(n);
            async move { n }
        };
        let tell = move |_, (_,): (u32,), outcome: Outcome<u32>| {
            told.push((name, outcome));
            if let Some(broker) = &cut {
                broker.outage(true);
            }
            async {}
        };
        builder(client).lease(secs(3)).register_fn(WORK, work).on_end_of(WORK, tell).start()
    };
    let _first = worker(&first, "a", Some(Arc::clone(&faulty))).await.unwrap();
    let handle = scene.client.enqueue(WORK.call((7,))).await.unwrap();
    until("a is cut off", || told.len() == 1).await;
    let _second = worker(&scene.client, "b", None).await.unwrap();
    until("b has removed it", || scene.is_done()).await;
    assert_eq!(told.all(), [("a", Outcome::Succeeded(7)), ("b", Outcome::Succeeded(7))]);
    assert_eq!((scene.runs.all(), handle.result().await.unwrap()), (vec![7], 7));
}

/// A request lasts as long as a task can wait; a lost worker must not make it last.
#[tokio::test(start_paused = true)]
async fn a_task_of_a_lost_worker_that_was_cancelled_meanwhile_is_known_no_longer_than_others() {
    let scene = Scene::new();
    let handle = scene.client.enqueue(WORK.call((1,)).status_ttl(HOUR)).await.unwrap();
    let request = FetchRequest::new(default_queue(), 1, secs(1));
    assert_eq!(scene.broker.fetch(&request).await.unwrap().len(), 1);
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Requested);
    tokio::time::sleep(secs(2)).await;
    let _worker = scene.worker().await;
    until("its message is removed", || scene.is_done()).await;
    tokio::time::sleep(HOUR * 25).await;
    let stranger = scene.client.handle_of::<u32>(handle.id().clone(), handle.queue().clone());
    assert_eq!((stranger.status().await.unwrap(), scene.runs.len()), (None, 0));
}
