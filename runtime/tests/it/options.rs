//! Built-in < configuration < task < call.

use std::time::Duration;

use windlass_core::{Call, Clock, Context, Options, Task, TaskDef, TaskError};
use windlass_runtime::{ClientSettings, WorkerBuilder};
use windlass_testing::{Harness, TokioClock};

use crate::support::{secs, settings};

/// Answers the number of the last possible run and the seconds that this one may take.
type Seen = (u32, Option<u64>);

const PLAIN: TaskDef<(), Seen> = TaskDef::new("plain");

struct Tuned;

impl Task for Tuned {
    const NAME: &'static str = "tuned";
    type Args = ();
    type Output = Seen;

    fn options() -> Options {
        Options {
            queue: Some("task".parse().unwrap()),
            max_retries: Some(5),
            timeout: Some(secs(50)),
            ..Options::default()
        }
    }

    async fn run(context: Context, (): ()) -> Result<Seen, TaskError> {
        Ok(seen(&context))
    }
}

fn seen(context: &Context) -> Seen {
    (context.max_attempts(), context.deadline().map(|at| at.since(TokioClock.now()).as_secs()))
}

fn build(worker: WorkerBuilder) -> WorkerBuilder {
    let queues = ["default", "config", "task", "call"];
    let worker = queues.into_iter().fold(worker, |worker, queue| worker.queue(queue, 10));
    worker.register::<Tuned>().register_fn(PLAIN, |context: Context| async move { seen(&context) })
}

fn tuned() -> Call<Seen> {
    Tuned::call_with(&())
}

#[tokio::test(start_paused = true)]
async fn timeout_and_retries_come_from_the_highest_level_that_names_them() {
    let harness = Harness::new();
    let bare = harness.worker(build).await;
    assert_eq!(harness.run(PLAIN.call(())).await.unwrap(), (11, None), "built-in");
    assert_eq!(harness.run(PLAIN.call(()).max_retries(0)).await.unwrap(), (1, None), "call over built-in");
    bare.shutdown().await;

    let mut settings = settings();
    settings.defaults = Options { max_retries: Some(3), timeout: Some(secs(30)), ..Options::default() };
    let worker = build(WorkerBuilder::new(harness.client(), settings)).start().await.unwrap();
    assert_eq!(harness.run(PLAIN.call(())).await.unwrap(), (4, Some(30)), "configuration");
    assert_eq!(harness.run(tuned()).await.unwrap(), (6, Some(50)), "task");
    assert_eq!(harness.run(tuned().max_retries(7).timeout("70s")).await.unwrap(), (8, Some(70)), "call");
    assert_eq!(harness.run(tuned().max_retries(7)).await.unwrap(), (8, Some(50)), "each option for itself");
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_queue_comes_from_the_highest_level_that_names_it() {
    let built_in = Harness::new();
    assert_eq!(built_in.enqueue(PLAIN.call(())).await.unwrap().queue().as_str(), "default");

    let mut settings = ClientSettings::default();
    settings.defaults.queue = Some("config".parse().unwrap());
    let harness = Harness::with_settings(settings);
    assert_eq!(harness.enqueue(PLAIN.call(())).await.unwrap().queue().as_str(), "config");
    assert_eq!(harness.enqueue(tuned()).await.unwrap().queue().as_str(), "task");
    assert_eq!(harness.enqueue(tuned().queue("call")).await.unwrap().queue().as_str(), "call");
    let queues: Vec<String> = harness.broker().enqueued().iter().map(|task| task.queue.to_string()).collect();
    assert_eq!(queues, ["config", "task", "call"]);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_of_the_call_replaces_that_of_the_configuration() {
    let mut settings = ClientSettings::default();
    settings.defaults.delay = Some(secs(60));
    let harness = Harness::with_settings(settings);
    let now = TokioClock.now();
    let calls = [PLAIN.call(()), PLAIN.call(()).run_at(now.plus(secs(90))), PLAIN.call(()).delay(Duration::ZERO)];
    for call in calls {
        harness.enqueue(call).await.unwrap();
    }
    let waits: Vec<Option<u64>> =
        harness.broker().enqueued().iter().map(|task| task.due.map(|due| due.since(now).as_secs())).collect();
    assert_eq!(waits, [Some(60), Some(90), None]);
}
