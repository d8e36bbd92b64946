//! Requests that come at the same time as something else.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_task_that_has_ended_and_whose_callback_still_runs_is_not_cancelled() {
    let harness = Harness::new();
    let telling = Log::new();
    let log = telling.clone();
    let slow = move |_, (_,): (u32,), _: windlass_runtime::Outcome<u32>| {
        log.push(());
        async { sleep(secs(20)).await }
    };
    let _worker = harness.worker(|w| w.register_fn(WORK, async |n: u32| n).on_end_of(WORK, slow)).await;
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    until("its callback runs", || telling.len() == 1).await;
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::NotFound);
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(requests(&harness).await, 0);
}

/// A workflow whose first task is found waiting by who cancels it, who is slow then; the second one is for
/// another queue.
async fn found_waiting(
    harness: &Harness,
) -> (FlowHandle<u32>, tokio::task::JoinHandle<windlass_core::Result<windlass_runtime::Cancellation>>) {
    let step = WORK.step(()).queue("other");
    let flow = harness.client().enqueue_flow(WORK.call((1,)).then(step)).await.unwrap();
    let node = Node::beside(harness);
    node.backend.delay(BackendCall::Read, 1, secs(5));
    let id = flow.task::<u32>(0).await.unwrap().unwrap().id().clone();
    let cancelling = tokio::spawn(async move { node.client.handle_of::<u32>(id, default_queue()).cancel().await });
    harness.pass("1s").await;
    (flow, cancelling)
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_workflow_that_succeeds_meanwhile_is_not_cancelled() {
    let harness = Harness::new();
    let (flow, cancelling) = found_waiting(&harness).await;
    let worker = harness.worker(|worker| worker.register_fn(WORK, async |n: u32| n + 1)).await;
    assert_eq!(cancelling.await.unwrap().unwrap(), CancelOutcome::NotFound);
    worker.shutdown().await;
    let other = |worker: WorkerBuilder| worker.register_fn(WORK, async |n: u32| n + 1).queue("other", 1);
    let _other = harness.worker(other).await;
    assert_eq!(flow.result_within(secs(60)).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_workflow_that_begins_meanwhile_is_asked_to_end() {
    let harness = Harness::new();
    let (flow, cancelling) = found_waiting(&harness).await;
    let log = Log::new();
    let _worker = harness.worker(long(&log)).await;
    assert_eq!(cancelling.await.unwrap().unwrap(), CancelOutcome::Requested);
    let told = flow.result_within(secs(60)).await.unwrap_err();
    assert!(!matches!(told, ResultError::Timeout { .. }), "{told}");
    harness.drain().await;
    assert_eq!(log.all(), ["run 1", "Cancelled: "]);
}

#[tokio::test(start_paused = true)]
async fn who_puts_a_dead_letter_back_wants_it_to_run_whatever_was_asked_for_before() {
    let harness = Harness::new();
    let work = async |context: Context, n: u32| match context.retries_left() {
        0 if n == 1 => Err("it is broken"),
        _ => {
            sleep(secs(60)).await;
            Ok(n)
        }
    };
    let worker = harness.worker(|worker| worker.register_fn(WORK, work)).await;
    let handle = harness.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    until("it is dead", || harness.broker().counts().dead == 1).await;
    request(&harness, handle.id(), NOW).await;
    let dead = harness.client().dead("default").unwrap();
    let letter = dead.list(None, 1).await.unwrap().letters.remove(0);
    assert_eq!(dead.replay_edited(&letter, WORK.call((2,))).await.unwrap(), 1);
    assert_eq!(requests(&harness).await, 0);
    harness.drain().await;
    assert_eq!(worker.shutdown().await.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_cancelled_in_the_hands_of_a_worker_does_not_run_when_it_is_given_back() {
    let harness = Harness::new();
    let begun = Log::new();
    let log = begun.clone();
    // Short at first, so that much is fetched ahead, and then long.
    let work = move |n: u32| {
        log.push(n);
        async move {
            if n >= 100 {
                sleep(millis(50)).await;
            }
            n
        }
    };
    let calls = (0..400).map(|n| WORK.call((n,)));
    let handles: Vec<_> = harness.client().enqueue_many(calls).await.into_iter().map(Result::unwrap).collect();
    let worker = harness.worker(|worker| worker.register_fn(WORK, work).concurrency(1)).await;
    until("the long ones have begun", || begun.len() > 100).await;
    harness.pass("200ms").await;
    assert!(harness.broker().counts().running > 2, "{:?}", harness.broker().counts());
    let next = begun.len() + 1;
    assert_eq!(handles[next].cancel_because("enough").await.unwrap(), CancelOutcome::Requested);
    let queue = harness.client().queue("default").unwrap();
    queue.pause().await.unwrap();
    harness.pass("60ms").await;
    assert!(!begun.all().contains(&(next as u32)));
    queue.resume().await.unwrap();
    assert_eq!(reason(&handles[next]).await.as_deref(), Some("enough"));
    harness.drain().await;
    assert!(!begun.all().contains(&(next as u32)));
    let report = worker.shutdown().await;
    assert_eq!((report.succeeded, report.cancelled, report.lost), (399, 1, 0), "{report}");
    assert_eq!(requests(&harness).await, 0);
}

#[tokio::test(start_paused = true)]
async fn it_is_known_for_as_long_as_a_workflow_that_a_task_of_it_was_cancelled() {
    let harness = Harness::new();
    let flow = harness.client().enqueue_flow(WORK.call((1,)).then(WORK.step(()))).await.unwrap();
    let task = flow.task::<u32>(0).await.unwrap().unwrap();
    assert_eq!(task.cancel().await.unwrap(), CancelOutcome::Cancelled);
    harness.pass("48h").await;
    let status = harness.client().handle_of::<u32>(task.id().clone(), default_queue()).status().await.unwrap();
    assert_eq!(status.map(|status| status.state), Some(State::Cancelled));
}

/// Who has lost the task leaves the request to the one that has it now.
#[tokio::test(start_paused = true)]
async fn a_request_is_not_withdrawn_by_a_worker_that_has_lost_the_task() {
    let harness = Harness::new();
    let (a, b) = (Node::beside(&harness), Node::beside(&harness));
    let (first, second) = (Log::new(), Log::new());
    let _first = a.worker(|worker| long(&first)(worker.lease(secs(3)))).await;
    a.backend.delay(BackendCall::Save, 1, secs(10));
    let handle = harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.pass("1s").await;
    assert_eq!(handle.cancel_because("enough").await.unwrap(), CancelOutcome::Requested);
    until("a saves", || a.backend.calls(BackendCall::Save) == 1).await;
    a.broker.outage(true);
    let heir = b.worker(|worker| long(&second)(worker.lease(secs(3)))).await;
    harness.pass("100ms").await;
    // It is slow to look for requests.
    for nth in 1..=3 {
        b.backend.delay(BackendCall::Read, nth, secs(20));
    }
    until("b has announced it", || b.backend.calls(BackendCall::Save) == 1).await;
    a.broker.outage(false);
    assert_eq!(reason(&handle).await.as_deref(), Some("enough"));
    harness.drain().await;
    assert_eq!((first.len(), second.len()), (2, 0));
    assert_eq!(heir.shutdown().await.cancelled, 1);
    assert_eq!(requests(&harness).await, 0);
}
