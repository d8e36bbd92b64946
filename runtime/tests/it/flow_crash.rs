//! Workers that die between any two steps of a workflow, and what the next ones make of it.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};
use windlass_core::flow::{Flow, join, map};
use windlass_core::{
    Backend, BackendCapabilities, Broker, CancelOutcome, Capabilities, Context, DeadPage, Delivery, Failure,
    FetchRequest, LeaseStatus, Listener, Location, Message, Note, NoteChange, NoteKey, NotePage, Notebook, Place,
    PublishOutcome, QueueName, Receipt, Record, Replay, Result, SaveOutcome, SettleOutcome, Settlement, State, TaskDef,
    TaskError, TaskId, WriteOutcome,
};
use windlass_runtime::{Client, Middleware, Next, RunResult, Worker, WorkerBuilder};
use windlass_testing::{MemoryBackend, MemoryBroker};

use crate::flow::{ADD, DOUBLE, END, GOOD, TOLD};
use crate::support::{HOUR, Log, client, default_queue, millis, secs, settings};

const TOTAL: TaskDef<((i64, Vec<i64>, String),), String> = TaskDef::new("total");

/// A chain, a group inside of a join, an error that is taken, callbacks, and a task that two others follow.
fn graph() -> Flow<(String, i64)> {
    let first = ADD.call((1, 2)).then(DOUBLE.step(())).on_success(GOOD.step((String::new(),)));
    let broken = ADD.call((-1, -1)).on_failure(TOLD.step((String::new(),)));
    let list = map([1, 2, 3], |n| DOUBLE.call((n,)));
    let total = join((first.clone(), list, broken.settled().then(END.step(())))).then(TOTAL.step(()));
    join((total, first.then(DOUBLE.step(())))).id("f")
}

/// How many tasks it has.
const TASKS: usize = 11;

/// How long a worker lives: so many calls of its stores.
#[derive(Debug)]
struct Life(Mutex<Days>);

#[derive(Debug)]
struct Days {
    calls: usize,
    /// It dies with this call.
    last: usize,
    /// Whether that one is still applied.
    applied: bool,
    chance: fastrand::Rng,
}

impl Life {
    fn new(last: usize, applied: bool, seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Days { calls: 0, last, applied, chance: fastrand::Rng::with_seed(seed) })))
    }

    fn endless(seed: u64) -> Arc<Self> {
        Self::new(usize::MAX, true, seed)
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    fn is_over(&self) -> bool {
        let days = self.0.lock().unwrap();
        days.calls >= days.last
    }

    /// Counts a call; whether it is applied.
    fn next(&self) -> bool {
        let mut days = self.0.lock().unwrap();
        let was_over = days.calls >= days.last;
        days.calls += 1;
        !was_over && (days.calls < days.last || days.applied)
    }

    /// A call as it takes place in such a life: after a while, and unanswered after its end.
    async fn call<T>(&self, apply: impl Future<Output = Result<T>>) -> Result<T> {
        let pause = self.0.lock().unwrap().chance.u64(0..3);
        sleep(millis(pause)).await;
        if !self.next() {
            std::future::pending::<()>().await;
        }
        let answer = apply.await;
        self.unless_over().await;
        answer
    }

    /// As [`Life::call`] for what is no step of its own.
    async fn uncounted<T>(&self, apply: impl Future<Output = Result<T>>) -> Result<T> {
        self.unless_over().await;
        let answer = apply.await;
        self.unless_over().await;
        answer
    }

    async fn unless_over(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }
}

/// All that outlives the workers.
#[derive(Debug, Clone)]
struct World {
    broker: MemoryBroker,
    backend: MemoryBackend,
    /// Whether the broker finds nothing and takes every id, as RabbitMQ does.
    is_plain: bool,
    accepted: Log<TaskId>,
    runs: Log<TaskId>,
}

/// What became of each task.
type Ends = BTreeMap<TaskId, (State, Option<Bytes>)>;

impl World {
    fn new(is_plain: bool) -> Self {
        let (accepted, runs) = (Log::new(), Log::new());
        Self { broker: MemoryBroker::new(), backend: MemoryBackend::new(), is_plain, accepted, runs }
    }

    /// A client whose stores answer as long as it lives.
    fn client(&self, life: &Arc<Life>) -> Client {
        let mortal = Arc::new(Mortal { world: self.clone(), life: Arc::clone(life) });
        client(Arc::clone(&mortal) as _, Some(mortal as _))
    }

    async fn worker(&self, life: &Arc<Life>) -> Worker {
        let mut settings = settings();
        settings.max_losses = 1000;
        let worker = WorkerBuilder::new(&self.client(life), settings).lease(secs(2)).layer(Seen(self.runs.clone()));
        let add = async |a: i64, b: i64| if a + b < 0 { Err(TaskError::permanent("below zero")) } else { Ok(a + b) };
        let end = async |end: std::result::Result<i64, Failure>| end.map_or("bad", |_| "good").to_owned();
        let total = async |(a, list, end): (i64, Vec<i64>, String)| format!("{a} {list:?} {end}");
        let worker = worker
            .register_fn(ADD, add)
            .register_fn(DOUBLE, async |n: i64| n * 2)
            .register_fn(END, end)
            .register_fn(TOTAL, total)
            .register_fn(GOOD, async |_: i64, _: String| {})
            .register_fn(TOLD, async |_: Failure, _: String| {});
        worker.start().await.unwrap()
    }

    /// Nothing waits or runs any more.
    fn is_done(&self) -> bool {
        let counts = self.broker.counts();
        counts.queued + counts.scheduled + counts.running == 0
    }

    /// Lets a worker work until it dies or everything is done.
    async fn work(&self, life: &Arc<Life>) {
        let worker = self.worker(life).await;
        let start = Instant::now();
        while !life.is_over() && !self.is_done() {
            assert!(start.elapsed() < HOUR, "it does not go on: {:?}, ran {:?}", self.broker.counts(), self.runs.all());
            sleep(millis(20)).await;
        }
        drop(worker);
    }

    /// What every history must lead to; `deaths` is how many workers died.
    async fn check(&self, deaths: usize, expected: Option<&Ends>) -> Ends {
        let client = self.client(&Life::endless(0));
        let handle = client.flow_of::<(String, i64)>(TaskId::new("f").unwrap());
        assert_eq!(handle.result_within(HOUR).await.unwrap(), ("6 [2, 4, 6] bad".to_owned(), 12));
        let progress = handle.progress().await.unwrap().unwrap();
        assert_eq!((progress.succeeded, progress.failed, progress.total()), (TASKS - 1, 1, TASKS), "{progress:?}");
        let ids: Vec<TaskId> = (0..TASKS).map(|number| TaskId::new(format!("f::{number}")).unwrap()).collect();
        let records = self.backend.load(&ids).await.unwrap().into_iter().flatten();
        let ends: Ends = records.map(|record| (record.id, (record.state, record.result))).collect();
        assert!(expected.is_none_or(|expected| *expected == ends), "{expected:?}\n{ends:?}");
        for (what, log, most) in
            [("ran", &self.runs, 1 + deaths), ("was published", &self.accepted, self.copies(deaths))]
        {
            let mut counts: HashMap<TaskId, usize> = HashMap::new();
            log.all().into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
            assert_eq!(counts.len(), TASKS);
            assert!(counts.values().all(|count| *count <= most), "{what} too often: {counts:?}");
        }
        let page = self.broker.dead_letters(&default_queue(), None, 100).await.unwrap();
        let dead: Vec<TaskId> = page.letters.into_iter().map(|letter| letter.id).collect();
        let failed: Vec<TaskId> = ends.iter().filter(|end| end.1.0 == State::Failed).map(|end| end.0.clone()).collect();
        assert_eq!(dead, failed, "only what failed by itself is a dead letter");
        ends
    }

    /// How often an id may be taken by the broker: by one that knows its ids, once.
    fn copies(&self, deaths: usize) -> usize {
        if self.is_plain { 1 + deaths } else { 1 }
    }
}

/// Writes down what runs.
#[derive(Debug)]
struct Seen(Log<TaskId>);

#[async_trait]
impl Middleware for Seen {
    async fn run(&self, context: &Context, next: Next<'_>) -> RunResult {
        self.0.push(context.id().clone());
        next.run(context).await
    }
}

/// A history without any death: how many calls it takes, and what it leads to.
async fn undisturbed(is_plain: bool, seed: u64) -> (usize, Ends) {
    let (world, life) = (World::new(is_plain), Life::endless(seed));
    world.client(&Life::endless(seed)).enqueue_flow(graph()).await.unwrap();
    world.work(&life).await;
    (life.calls(), world.check(0, None).await)
}

async fn one_death(is_plain: bool, last: usize, applied: bool, expected: &Ends) {
    let world = World::new(is_plain);
    world.client(&Life::endless(1)).enqueue_flow(graph()).await.unwrap();
    world.work(&Life::new(last, applied, 1)).await;
    world.work(&Life::endless(2)).await;
    world.check(1, Some(expected)).await;
}

/// Each history has a runtime of its own, which ends with it: dead workers do not pile up.
fn in_its_own_time<T>(history: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(history)
}

fn after_each_step(is_plain: bool) {
    let (calls, expected) = in_its_own_time(undisturbed(is_plain, 1));
    assert!(calls > 40, "{calls} are too few for this graph");
    for last in 1..=calls {
        for applied in [false, true] {
            in_its_own_time(one_death(is_plain, last, applied, &expected));
        }
    }
}

#[test]
fn a_worker_may_die_before_and_after_each_of_its_calls() {
    after_each_step(false);
}

#[test]
fn a_worker_may_die_so_over_a_broker_that_takes_every_id() {
    after_each_step(true);
}

/// The first worker dies at its first call, the next at its second, and so on until all is done.
async fn all_die(seed: u64, expected: &Ends) {
    let (world, mut chance) = (World::new(seed % 2 == 1), fastrand::Rng::with_seed(seed));
    world.client(&Life::endless(seed)).enqueue_flow(graph()).await.unwrap();
    let mut deaths = 0;
    while !world.is_done() {
        deaths += 1;
        world.work(&Life::new(deaths, chance.bool(), chance.u64(..))).await;
    }
    assert!(deaths > 5, "{deaths} deaths in history {seed}");
    world.check(deaths, Some(expected)).await;
}

#[test]
fn a_hundred_histories_in_which_every_worker_dies() {
    let (_, expected) = in_its_own_time(undisturbed(false, 0));
    for seed in 0..100 {
        in_its_own_time(all_die(seed, &expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_may_die_at_each_of_its_calls_and_another_one_goes_on() {
    let (_, expected) = undisturbed(false, 0).await;
    let mut last = 0;
    loop {
        last += 1;
        let world = World::new(false);
        let life = Life::new(last, last.is_multiple_of(2), 1);
        let enqueued = timeout(secs(5), world.client(&life).enqueue_flow(graph())).await;
        // Whatever was published can run; so all that follows must be there.
        world.work(&Life::endless(3)).await;
        world.client(&Life::endless(1)).enqueue_flow(graph()).await.unwrap();
        world.work(&Life::endless(2)).await;
        world.check(0, Some(&expected)).await;
        if enqueued.is_ok() {
            break;
        }
    }
    assert!(last > 4, "{last}");
}

/// The stores as one worker or client sees them.
#[derive(Debug)]
struct Mortal {
    world: World,
    life: Arc<Life>,
}

#[async_trait]
impl Broker for Mortal {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.world.broker.capabilities();
        if self.world.is_plain {
            (capabilities.cancel, capabilities.locate, capabilities.idempotent) = (false, false, false);
        }
        capabilities
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        let publish = async {
            let forgetful = |message: &Message| match self.world.is_plain {
                true => Message { remember: None, ..message.clone() },
                false => message.clone(),
            };
            let messages: Vec<Message> = messages.iter().map(forgetful).collect();
            let outcomes = self.world.broker.publish(&messages).await?;
            for (message, outcome) in messages.iter().zip(&outcomes) {
                if outcome.is_accepted() {
                    self.world.accepted.push(message.id.clone());
                }
            }
            Ok(outcomes)
        };
        self.life.call(publish).await
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        self.life.uncounted(self.world.broker.ready(queue, wait)).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        let found = self.life.uncounted(self.world.broker.fetch(request)).await?;
        if found.is_empty() { Ok(found) } else { self.life.call(async { Ok(found) }).await }
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        self.life.uncounted(self.world.broker.extend(receipts, lease)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        let forgetful = |settlement: &Settlement| match self.world.is_plain {
            true => Settlement { remember: None, ..settlement.clone() },
            false => settlement.clone(),
        };
        let settlements: Vec<Settlement> = settlements.iter().map(forgetful).collect();
        self.life.call(self.world.broker.settle(&settlements)).await
    }

    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        self.life.call(self.world.broker.cancel(queue, id)).await
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        self.life.uncounted(self.world.broker.locate(queue, id)).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        self.life.uncounted(self.world.broker.dead_letters(queue, cursor, max)).await
    }

    async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize> {
        self.life.call(self.world.broker.replay(queue, letters)).await
    }

    async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.life.call(self.world.broker.discard(queue, ids)).await
    }

    async fn close(&self) {}
}

#[async_trait]
impl Backend for Mortal {
    fn capabilities(&self) -> BackendCapabilities {
        self.world.backend.capabilities()
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        self.life.call(self.world.backend.save(records)).await
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.life.call(self.world.backend.load(ids)).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        self.life.uncounted(self.world.backend.wait(id, timeout)).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.life.call(self.world.backend.forget(ids)).await
    }

    fn notebook(&self) -> Option<&dyn Notebook> {
        Some(self)
    }

    async fn close(&self) {}
}

#[async_trait]
impl Notebook for Mortal {
    async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        self.life.call(self.world.backend.read(keys)).await
    }

    async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        self.life.call(self.world.backend.write(changes)).await
    }

    async fn list(&self, shelf: &'static str, after: Option<&str>, max: usize) -> Result<NotePage> {
        self.life.uncounted(self.world.backend.list(shelf, after, max)).await
    }

    async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        self.life.call(self.world.backend.gather(places)).await
    }

    async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        self.life.call(self.world.backend.gathered(set, range)).await
    }

    async fn signal(&self, topic: &str, text: Bytes) -> Result<()> {
        self.life.uncounted(self.world.backend.signal(topic, text)).await
    }

    async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>> {
        self.life.uncounted(self.world.backend.listen(topic)).await
    }
}
