//! What a hostile reading found: flows over a worker or a broker that cannot do all of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use windlass_core::broker::Overflow;
use windlass_core::flow::map;
use windlass_core::{
    Broker, CancelOutcome, Capabilities, DeadPage, Delivery, Error, ErrorKind, FetchRequest, LeaseStatus, Location,
    Message, PublishOutcome, QueueLimit, QueueName, Receipt, Replay, Result, SettleOutcome, Settlement, TaskId,
};
use windlass_runtime::{Client, ClientSettings, ResultError};
use windlass_testing::{MemoryBackend, MemoryBroker, TokioClock};

use crate::flow::{ADD, DOUBLE, tasks};
use crate::support::{HOUR, Log, WORK, builder, client, default_queue, secs, until};

/// A broker that neither finds nor removes what waits, takes any id, and knows no leases.
#[derive(Debug, Clone)]
struct Plain(MemoryBroker);

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

    async fn close(&self) {
        self.0.close().await;
    }
}

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
