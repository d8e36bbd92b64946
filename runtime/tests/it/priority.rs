//! The most urgent first, through everything that can happen to a task.

use tokio::time::sleep;
use windlass_core::{Backoff, Call, Context, Message, Options, Priority, Task, TaskError};
use windlass_runtime::{ClientSettings, WorkerBuilder};
use windlass_testing::Harness;

use crate::support::{Log, WORK, claim, dead, default_queue, secs};

struct Urgent;

impl Task for Urgent {
    const NAME: &'static str = "urgent";
    type Args = ();
    type Output = ();

    fn options() -> Options {
        Options { priority: Some(Priority::High), ..Options::default() }
    }

    async fn run(_: Context, (): ()) -> Result<(), TaskError> {
        Ok(())
    }
}

fn urgent() -> Call<()> {
    Urgent::call_with(&())
}

/// What the messages in the broker say, in the order of enqueueing.
fn said(harness: &Harness) -> Vec<Option<Priority>> {
    let said = |(message, _): (Message, _)| message.options.priority;
    harness.broker().waiting().into_iter().map(said).collect()
}

#[tokio::test(start_paused = true)]
async fn the_priority_comes_from_the_highest_level_that_names_it() {
    let mut settings = ClientSettings::default();
    settings.defaults.priority = Some(Priority::Low);
    let harness = Harness::with_settings(settings);
    harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.enqueue(urgent()).await.unwrap();
    harness.enqueue(urgent().priority(Priority::Critical)).await.unwrap();
    harness.enqueue(urgent().priority(Priority::Normal)).await.unwrap();
    let expected = [Some(Priority::Low), Some(Priority::High), Some(Priority::Critical), None];
    assert_eq!(said(&harness), expected, "configuration, task, call, and a call that asks for what is normal");
}

#[tokio::test(start_paused = true)]
async fn without_a_word_nothing_is_sent() {
    let harness = Harness::new();
    harness.enqueue(WORK.call((1,))).await.unwrap();
    harness.enqueue(urgent()).await.unwrap();
    assert_eq!(said(&harness), [None, Some(Priority::High)]);
}

/// Runs one task after the other, each for a second, and logs their numbers; those from 100 on fail in
/// their first run.
fn one_by_one(log: &Log<u32>) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let log = log.clone();
    let work = move |context: Context, n: u32| {
        log.push(n);
        let fails = n >= 100 && context.attempt() == 1;
        async move {
            sleep(secs(1)).await;
            if fails { Err("the first run fails") } else { Ok(n) }
        }
    };
    |worker| worker.concurrency(1).register_fn(WORK, work)
}

async fn enqueue(harness: &Harness, priority: Priority, numbers: impl IntoIterator<Item = u32>) {
    let calls = numbers.into_iter().map(|n| WORK.call((n,)).priority(priority).backoff(Backoff::fixed(secs(2))));
    let handles = harness.client().enqueue_many(calls).await;
    assert!(handles.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn one_place_runs_the_most_urgent_first_and_equals_in_their_order() {
    let harness = Harness::new();
    let log = Log::new();
    enqueue(&harness, Priority::Low, [30, 31]).await;
    enqueue(&harness, Priority::Normal, [20, 21]).await;
    enqueue(&harness, Priority::Critical, [0, 1]).await;
    enqueue(&harness, Priority::High, [10, 11]).await;
    let worker = harness.worker(one_by_one(&log)).await;
    harness.pass("3500ms").await;
    assert_eq!(log.all(), [0, 1, 10, 11]);
    enqueue(&harness, Priority::Critical, [2]).await;
    harness.drain().await;
    assert_eq!(log.all(), [0, 1, 10, 11, 2, 20, 21, 30, 31], "what comes later and is urgent does not wait");
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_as_urgent_as_its_first_run() {
    let harness = Harness::new();
    let log = Log::new();
    enqueue(&harness, Priority::Normal, [1, 2, 3, 4, 5]).await;
    enqueue(&harness, Priority::Low, [6]).await;
    enqueue(&harness, Priority::Critical, [100]).await;
    let _worker = harness.worker(one_by_one(&log)).await;
    harness.drain().await;
    let runs = log.all();
    let again = runs.iter().rposition(|n| *n == 100).unwrap();
    assert!(runs[0] == 100 && (2..=4).contains(&again), "{runs:?}");
    let others: Vec<u32> = runs.into_iter().filter(|n| *n != 100).collect();
    assert_eq!(others, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_dead_letter_is_as_urgent_as_it_was() {
    let harness = Harness::new();
    let log = Log::new();
    let worker = harness.worker(one_by_one(&log)).await;
    for (n, priority) in [(100, Priority::Low), (101, Priority::Critical), (102, Priority::Normal)] {
        harness.enqueue(WORK.call((n,)).priority(priority).max_retries(0)).await.unwrap();
    }
    harness.drain().await;
    worker.shutdown().await;
    let letters: Vec<_> = dead(&harness).await.into_iter().map(|letter| letter.id).collect();
    assert_eq!(letters.len(), 3);
    enqueue(&harness, Priority::High, [1]).await;
    enqueue(&harness, Priority::Normal, [2]).await;
    enqueue(&harness, Priority::Low, [3]).await;
    assert_eq!(harness.client().replay(&default_queue(), &letters).await.unwrap(), 3);
    let _worker = harness.worker(one_by_one(&log)).await;
    harness.drain().await;
    assert_eq!(log.all()[3..], [101, 1, 2, 102, 3, 100], "each at the end of its level");
}

#[tokio::test(start_paused = true)]
async fn a_lost_task_comes_back_at_the_head_of_its_level() {
    let harness = Harness::new();
    let log = Log::new();
    enqueue(&harness, Priority::High, [10]).await;
    enqueue(&harness, Priority::Low, [30]).await;
    assert_eq!(claim(&harness, secs(1)).await.len(), 2);
    enqueue(&harness, Priority::Low, [31]).await;
    enqueue(&harness, Priority::High, [11]).await;
    enqueue(&harness, Priority::Normal, [20]).await;
    enqueue(&harness, Priority::Critical, [0]).await;
    harness.pass("2s").await;
    let _worker = harness.worker(one_by_one(&log)).await;
    harness.drain().await;
    assert_eq!(log.all(), [0, 10, 11, 20, 30, 31]);
}
