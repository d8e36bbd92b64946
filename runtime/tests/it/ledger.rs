//! Brokers that cannot find what they hold: the backend fills their gaps.

mod copies;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Backend, Broker, CancelOutcome, Capabilities, DeadPage, Delivery, Error, ErrorKind, FetchRequest, LeaseStatus,
    Location, Message, PublishOutcome, QueueName, Receipt, Record, Replay, Result, SettleOutcome, Settlement, State,
    TaskId, Token,
};
use windlass_runtime::{Outcome, ResultError, TaskHandle};
use windlass_testing::fault::{BackendCall, FaultyBackend, FaultyBroker};
use windlass_testing::{MemoryBackend, MemoryBroker, fixture};

use crate::support::{HOUR, Log, WORK, builder, client, default_queue, secs, until};

/// A broker that neither finds nor removes what waits, takes any id, and says that claims last as long
/// as a connection.
#[derive(Debug, Clone)]
pub(crate) struct Plain(pub(crate) MemoryBroker);

#[async_trait]
impl Broker for Plain {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.lease = false;
        capabilities.cancel = false;
        capabilities.locate = false;
        capabilities.idempotent = false;
        capabilities
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        if messages.iter().any(|message| message.payload.len() > 100) {
            let full = |_| PublishOutcome::Rejected(Error::new(ErrorKind::Rejected, "publish", "the queue is full"));
            return Ok(messages.iter().map(full).collect());
        }
        let forgetful = |message: &Message| Message { remember: None, ..message.clone() };
        self.0.publish(&messages.iter().map(forgetful).collect::<Vec<_>>()).await
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        self.0.ready(queue, wait).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        self.0.fetch(request).await
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        self.0.extend(receipts, lease).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        let forgetful = |settlement: &Settlement| Settlement { remember: None, ..settlement.clone() };
        self.0.settle(&settlements.iter().map(forgetful).collect::<Vec<_>>()).await
    }

    async fn cancel(&self, _: &QueueName, _: &TaskId) -> Result<CancelOutcome> {
        Err(Error::new(ErrorKind::Unsupported, "cancel", "this broker cannot"))
    }

    async fn locate(&self, _: &QueueName, _: &TaskId) -> Result<Option<Location>> {
        Err(Error::new(ErrorKind::Unsupported, "locate", "this broker cannot"))
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.0.dead_letters(queue, cursor, max).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        self.0.replay(queue, letters).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.0.discard(queue, ids).await
    }

    fn risks(&self) -> Vec<String> {
        self.0.risks()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

struct Scene {
    broker: MemoryBroker,
    backend: Arc<FaultyBackend>,
    client: windlass_runtime::Client,
    runs: Log<u32>,
}

impl Scene {
    fn new() -> Self {
        let broker = MemoryBroker::new();
        let backend = Arc::new(FaultyBackend::new(Arc::new(MemoryBackend::new())));
        let client = client(Arc::new(Plain(broker.clone())), Some(Arc::clone(&backend) as _));
        Self { broker, backend, client, runs: Log::new() }
    }

    async fn worker(&self) -> windlass_runtime::Worker {
        let runs = self.runs.clone();
        let work = move |n: u32| {
            runs.push(n);
            async move { n }
        };
        builder(&self.client).register_fn(WORK, work).start().await.unwrap()
    }

    async fn enqueue(&self, id: &str, n: u32) -> TaskHandle<u32> {
        self.client.enqueue(WORK.call((n,)).id(id)).await.unwrap()
    }

    /// Nothing waits, runs or is dead.
    fn is_done(&self) -> bool {
        let counts = self.broker.counts();
        counts.queued + counts.scheduled + counts.running + counts.dead == 0
    }

    /// A second copy of a message, as a store that delivers twice would make it.
    async fn copy(&self, handle: &TaskHandle<u32>) {
        let (message, _) = self.client.prepare(WORK.call((99,)).id(handle.id().to_string())).unwrap();
        let outcomes = self.broker.publish(&[Message { remember: None, ..message }]).await.unwrap();
        assert!(outcomes[0].is_accepted());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_not_run_when_its_turn_comes() {
    let scene = Scene::new();
    let (gone, kept) = (scene.enqueue("gone", 1).await, scene.enqueue("kept", 2).await);
    assert_eq!(gone.cancel().await.unwrap(), CancelOutcome::Requested);
    assert_eq!(gone.cancel().await.unwrap(), CancelOutcome::NotFound, "it has ended");
    assert!(matches!(gone.result().await, Err(ResultError::Cancelled { .. })));
    let _worker = scene.worker().await;
    assert_eq!(kept.result().await.unwrap(), 2);
    assert_eq!(scene.runs.all(), [2]);
    until("its message is removed", || scene.is_done()).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_known_that_a_task_is_cancelled_until_its_time_comes() {
    let scene = Scene::new();
    let year = WORK.call((1,)).delay("365d");
    let handle = scene.client.enqueue(year).await.unwrap();
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Requested);
    tokio::time::advance(HOUR * 24 * 365 + secs(1)).await;
    let _worker = scene.worker().await;
    until("its message is removed", || scene.is_done()).await;
    assert_eq!(scene.runs.len(), 0);
    until("its record ends a day later", || scene.backend.calls(BackendCall::Save) == 2).await;
    tokio::time::advance(HOUR * 25).await;
    let stranger = scene.client.handle_of::<u32>(handle.id().clone(), handle.queue().clone());
    assert_eq!(stranger.status().await.unwrap(), None);
}

/// How it ended, for who waits.
async fn cancelled(handle: &TaskHandle<u32>) -> Option<String> {
    match handle.result_within(HOUR).await {
        Err(ResultError::Cancelled { reason, .. }) => reason,
        other => panic!("not cancelled: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_task_is_told_and_its_record_is_kept_no_longer_than_that_of_any_other() {
    for listens in [true, false] {
        let scene = Scene::new();
        let runs = scene.runs.clone();
        let work = move |context: windlass_core::Context, n: u32| {
            runs.push(n);
            async move {
                // A request that comes a moment before the end is not heard, and counts all the same.
                if listens {
                    context.interrupted().await;
                } else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                n
            }
        };
        let _worker = builder(&scene.client).register_fn(WORK, work).start().await.unwrap();
        let call = WORK.call((1,)).status_ttl(HOUR);
        let handle = scene.client.enqueue(call).await.unwrap();
        until("it runs", || scene.runs.len() == 1).await;
        if listens {
            tokio::time::sleep(secs(10)).await;
        }
        let done = handle.cancel_because("the order was withdrawn").await.unwrap();
        assert_eq!(done, CancelOutcome::Requested);
        assert_eq!(cancelled(&handle).await.as_deref(), Some("the order was withdrawn"));
        until("its message is removed", || scene.is_done()).await;
        let stranger = scene.client.handle_of::<u32>(handle.id().clone(), handle.queue().clone());
        assert_eq!(stranger.status().await.unwrap().unwrap().state, State::Cancelled);
        tokio::time::sleep(HOUR + secs(60)).await;
        assert_eq!(stranger.status().await.unwrap(), None, "listens: {listens}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_was_put_back_can_be_cancelled_and_put_back_once_more() {
    let scene = Scene::new();
    let runs = scene.runs.clone();
    let work = move |n: u32| {
        runs.push(n);
        async { Err::<u32, _>("boom") }
    };
    let worker = builder(&scene.client).register_fn(WORK, work).start().await.unwrap();
    let handle = scene.client.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    until("it is dead", || scene.broker.counts().dead == 1).await;
    worker.shutdown().await;
    let replay = || scene.client.replay(handle.queue(), std::slice::from_ref(handle.id()));
    assert_eq!(replay().await.unwrap(), 1);
    assert_eq!(handle.cancel_because("not again").await.unwrap(), CancelOutcome::Requested);
    let _worker = scene.worker().await;
    until("its message is removed", || scene.is_done()).await;
    assert_eq!(scene.runs.all(), [1], "only the first time");
    assert_eq!(cancelled(&handle).await.as_deref(), Some("not again"));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_cancel_a_dead_letter_does_not_outlive_its_replay() {
    let scene = Scene::new();
    let worker = {
        let work = async |_n: u32| Err::<u32, _>("boom");
        builder(&scene.client).register_fn(WORK, work).start().await.unwrap()
    };
    let handle = scene.client.enqueue(WORK.call((1,)).max_retries(0)).await.unwrap();
    until("it is dead", || scene.broker.counts().dead == 1).await;
    worker.shutdown().await;
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Requested);
    assert_eq!(scene.client.replay(handle.queue(), std::slice::from_ref(handle.id())).await.unwrap(), 1);
    let _worker = scene.worker().await;
    until("it has run", || scene.is_done() && scene.runs.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_announced_while_it_is_cancelled_is_cancelled() {
    let scene = Scene::new();
    let handle = scene.client.enqueue(WORK.call((1,))).await.unwrap();
    scene.backend.delay(BackendCall::Save, 1, secs(1));
    let cancelling = tokio::spawn({
        let handle = handle.clone();
        async move { handle.cancel().await }
    });
    until("it has read that nothing is known", || scene.backend.calls(BackendCall::Save) == 1).await;
    let announced = Record {
        id: handle.id().clone(),
        token: Token(7),
        state: State::Running,
        attempt: 1,
        ..fixture::record(State::Running)
    };
    scene.backend.save(&[announced]).await.unwrap();
    let done = cancelling.await.unwrap().unwrap();
    assert_eq!((done.outcome, done.was), (CancelOutcome::Requested, Some(State::Running)));
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_a_broker_that_cannot_cancel_says_so() {
    let client = client(Arc::new(Plain(MemoryBroker::new())), None);
    let handle = client.enqueue(WORK.call((1,))).await.unwrap();
    assert_eq!(handle.cancel().await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_the_caller_is_taken_while_its_task_is_known() {
    let scene = Scene::new();
    assert!(scene.enqueue("once", 1).await.is_new());
    assert!(!scene.enqueue("once", 2).await.is_new(), "it waits");
    let calls = (1..=3).map(|n| WORK.call((n,)).id(if n == 2 { "new" } else { "once" }));
    let handles = scene.client.enqueue_many(calls).await;
    let is_new: Vec<bool> = handles.iter().map(|handle| handle.as_ref().unwrap().is_new()).collect();
    assert_eq!(is_new, [false, true, false]);
    let _worker = scene.worker().await;
    let again = scene.enqueue("once", 3).await;
    assert_eq!(again.result().await.unwrap(), 1);
    assert!(!scene.enqueue("once", 4).await.is_new(), "it has ended");
    assert_eq!(scene.enqueue("new", 5).await.result().await.unwrap(), 2);
    assert_eq!(scene.runs.all(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_free_when_its_record_has_ended() {
    let scene = Scene::new();
    let _worker = scene.worker().await;
    assert_eq!(scene.enqueue("daily", 1).await.result().await.unwrap(), 1);
    tokio::time::advance(HOUR * 25).await;
    let again = scene.enqueue("daily", 2).await;
    assert!(again.is_new());
    assert_eq!(again.result().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn fault_39_what_has_succeeded_is_not_run_when_it_is_delivered_again() {
    let scene = Scene::new();
    let _worker = scene.worker().await;
    let handle = scene.enqueue("once", 1).await;
    assert_eq!(handle.result().await.unwrap(), 1);
    until("it is settled", || scene.is_done()).await;
    scene.copy(&handle).await;
    until("the copy is removed", || scene.is_done()).await;
    assert_eq!(scene.runs.all(), [1]);
    assert_eq!(handle.result().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_dead_letter_runs_although_its_task_has_failed() {
    let scene = Scene::new();
    let runs = scene.runs.clone();
    let fail_once = move |n: u32| {
        runs.push(n);
        let failed = runs.len() == 1;
        async move { if failed { Err(windlass_core::TaskError::from("not now")) } else { Ok(n) } }
    };
    let _worker = builder(&scene.client).register_fn(WORK, fail_once).start().await.unwrap();
    let handle = scene.client.enqueue(WORK.call((7,)).max_retries(0)).await.unwrap();
    assert!(matches!(handle.result().await, Err(ResultError::Failed { .. })));
    until("it is dead", || scene.broker.counts().dead == 1).await;
    assert_eq!(scene.client.replay(&default_queue(), &[handle.id().clone()]).await.unwrap(), 1);
    until("it runs again", || scene.runs.len() == 2).await;
    until("it is settled", || scene.is_done()).await;
    assert_eq!(handle.result().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn fault_94_while_the_backend_is_away_nothing_is_run_and_nothing_is_lost() {
    let scene = Scene::new();
    let _worker = scene.worker().await;
    tokio::time::sleep(secs(1)).await;
    scene.backend.outage(true);
    let handle = scene.client.enqueue(WORK.call((1,))).await.unwrap();
    let refused = scene.client.enqueue(WORK.call((2,)).id("chosen")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "whether the id is taken cannot be told");
    until("it was tried twice", || scene.backend.calls(BackendCall::Load) >= 3).await;
    assert_eq!(scene.runs.len(), 0);
    scene.backend.outage(false);
    assert_eq!(handle.result().await.unwrap(), 1);
    assert_eq!(scene.runs.all(), [1]);
}

#[tokio::test(start_paused = true)]
async fn of_a_broker_that_cannot_tell_a_handle_knows_what_it_has_sent() {
    let scene = Scene::new();
    let now = scene.client.enqueue(WORK.call((1,))).await.unwrap();
    let later = scene.client.enqueue(WORK.call((2,)).delay("1h")).await.unwrap();
    assert_eq!(now.status().await.unwrap().unwrap().state, State::Queued);
    let status = later.status().await.unwrap().unwrap();
    assert_eq!(status.state, State::Scheduled);
    assert!(status.due.is_some());
    tokio::time::advance(HOUR + secs(1)).await;
    assert_eq!(later.status().await.unwrap().unwrap().state, State::Queued);
    let stranger = scene.client.handle_of::<u32>(later.id().clone(), later.queue().clone());
    assert_eq!(stranger.status().await.unwrap(), None);
    let _worker = scene.worker().await;
    assert_eq!(later.result().await.unwrap(), 2);
    assert_eq!(stranger.status().await.unwrap().unwrap().state, State::Succeeded);
}

/// An outbox publishes when a relay comes to it, which may take as long as no worker runs.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_published_later_is_waited_for() {
    let broker = MemoryBroker::new();
    let client = client(Arc::new(broker.clone()), Some(Arc::new(MemoryBackend::new())));
    let (message, handle) = client.prepare(WORK.call((7,))).unwrap();
    assert_eq!(handle.status().await.unwrap().unwrap().state, State::Queued);
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.result().await }
    });
    tokio::time::sleep(HOUR).await;
    assert!(!waiting.is_finished(), "it was committed, and no relay has come yet");
    broker.publish(&[message]).await.unwrap();
    let _worker = builder(&client).register_fn(WORK, |n: u32| async move { n }).start().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 7);
}
