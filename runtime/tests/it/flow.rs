//! Workflows, in the worker and through their handle.

mod refusals;

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::flow::{group, join, map};
use windlass_core::{
    Broker, CancelOutcome, Context, ErrorKind, Failure, FailureKind, QueueName, Retention, State, TaskDef, TaskError,
    TaskId,
};
use windlass_runtime::{FlowHandle, ResultError, WorkerBuilder};
use windlass_testing::{Harness, MemoryBroker};

use crate::support::{HOUR, Log, client, dead, default_queue, millis, secs, until};

pub(crate) const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");
pub(crate) const DOUBLE: TaskDef<(i64,), i64> = TaskDef::new("double");
pub(crate) const SUM: TaskDef<(Vec<i64>,), i64> = TaskDef::new("sum");
pub(crate) const ENDS: TaskDef<(Vec<Result<i64, Failure>>,), String> = TaskDef::new("ends");
pub(crate) const END: TaskDef<(Result<i64, Failure>,), String> = TaskDef::new("end");
pub(crate) const PAIR: TaskDef<((i64, String),), String> = TaskDef::new("pair");
pub(crate) const TOLD: TaskDef<(Failure, String), ()> = TaskDef::new("told");
pub(crate) const GOOD: TaskDef<(i64, String), ()> = TaskDef::new("good");
const NESTED: TaskDef<(Vec<Vec<i64>>,), i64> = TaskDef::new("nested");

/// What ran, with its arguments.
type Runs = Log<String>;

/// Every task that the tests use. `add` refuses to go below zero, and waits as many seconds as its sum if
/// that is above a thousand.
pub(crate) fn tasks(runs: &Runs) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder {
    let (add, double, sum, ends, end) = (runs.clone(), runs.clone(), runs.clone(), runs.clone(), runs.clone());
    let (pair, told, good, nested) = (runs.clone(), runs.clone(), runs.clone(), runs.clone());
    let work = move |context: Context, a: i64, b: i64| {
        add.push(format!("{} add({a}, {b})", context.id()));
        async move {
            match a + b {
                sum if sum < 0 => Err(TaskError::permanent("below zero")),
                sum => {
                    tokio::time::sleep(if sum > 1000 { secs(sum as u64) } else { Duration::ZERO }).await;
                    Ok(sum)
                }
            }
        }
    };
    let text = |result: &Result<i64, Failure>| match result {
        Ok(n) => n.to_string(),
        Err(failure) => format!("{:?}", failure.kind),
    };
    move |worker| {
        worker
            .register_fn(ADD, work)
            .register_fn(DOUBLE, move |context: Context, n: i64| {
                double.push(format!("{} double({n})", context.id()));
                async move { n * 2 }
            })
            .register_fn(SUM, move |context: Context, all: Vec<i64>| {
                sum.push(format!("{} sum({})", context.id(), all.len()));
                async move { all.iter().sum::<i64>() }
            })
            .register_fn(ENDS, move |all: Vec<Result<i64, Failure>>| {
                ends.push("ends".to_owned());
                async move { all.iter().map(text).collect::<Vec<_>>().join(" ") }
            })
            .register_fn(END, move |one: Result<i64, Failure>| {
                end.push("end".to_owned());
                async move { text(&one) }
            })
            .register_fn(PAIR, move |(n, name): (i64, String)| {
                pair.push("pair".to_owned());
                async move { format!("{n} {name}") }
            })
            .register_fn(TOLD, move |failure: Failure, word: String| {
                told.push(format!("told {word}: {failure}"));
                async {}
            })
            .register_fn(GOOD, move |n: i64, word: String| {
                good.push(format!("good {word}: {n}"));
                async {}
            })
            .register_fn(NESTED, move |all: Vec<Vec<i64>>| {
                nested.push(format!("nested {all:?}"));
                async move { all.iter().flatten().sum::<i64>() }
            })
    }
}

fn broken() -> windlass_core::Call<i64> {
    ADD.call((-1, -1))
}

async fn failure<O: serde::de::DeserializeOwned + std::fmt::Debug>(handle: &FlowHandle<O>) -> Failure {
    match handle.result_within(HOUR).await {
        Err(ResultError::Failed { failure, .. }) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

/// Everything is done, and nothing went wrong on the way.
async fn is_clean(harness: &Harness, ended: usize, handle: &FlowHandle<impl Sized>) {
    harness.drain().await;
    let progress = handle.progress().await.unwrap().unwrap();
    assert_eq!((progress.succeeded, progress.ended(), progress.total()), (ended, ended, ended), "{progress:?}");
    assert_eq!(dead(harness).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_chain_hands_each_result_to_the_next_and_may_name_a_task_twice() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let chain = ADD.call((2, 3)).then(ADD.step((10,))).then(DOUBLE.step(())).then(DOUBLE.step(()));
    let handle = harness.client().enqueue_flow(chain.id("order-7")).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 60);
    let expected = ["order-7::0 add(2, 3)", "order-7::1 add(5, 10)", "order-7::2 double(15)", "order-7::3 double(30)"];
    assert_eq!(runs.all(), expected);
    is_clean(&harness, 4, &handle).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_ends_with_the_list_of_its_results_in_order() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let handle = harness.client().enqueue_flow(map(0..1200, |n| ADD.call((n, 1)))).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), (1..=1200).collect::<Vec<i64>>());
    is_clean(&harness, 1200, &handle).await;
    assert!(harness.client().flow_of::<Vec<i64>>(handle.id().clone()).result().await.is_ok(), "from another process");
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_group_runs_once_with_all_results() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let chord = map(0..50, |n| ADD.call((n, 1))).then(SUM.step(()));
    let handle = harness.client().enqueue_flow(chord.id("c")).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), (1..=50).sum::<i64>());
    is_clean(&harness, 51, &handle).await;
    assert_eq!(runs.all().iter().filter(|run| *run == "c::50 sum(50)").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_graph_of_everything_comes_together() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let first = ADD.call((1, 2)).then(DOUBLE.step(()));
    let pair = join((first.clone(), first.clone().settled().then(END.step(())))).then(PAIR.step(()));
    let nested = group([map([1, 2], |n| DOUBLE.call((n,))), map([3], |n| DOUBLE.call((n,)))]).then(NESTED.step(()));
    let all = join((pair, nested, first));
    let handle = harness.client().enqueue_flow(all).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), ("6 6".to_owned(), 12, 6));
    harness.drain().await;
    assert_eq!(runs.all().iter().filter(|run| run.contains("add(1, 2)")).count(), 1, "a clone is the same task");
    assert!(runs.all().contains(&"nested [[2, 4], [6]]".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_failed_task_fails_at_once_and_says_why() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    // One of the group runs for an hour: nobody waits for that.
    let group = group([broken(), ADD.call((3600, 0))]);
    let handle = harness.client().enqueue_flow(group.then(SUM.step(())).then(DOUBLE.step(())).id("f")).await.unwrap();
    let start = Instant::now();
    let failure = failure(&handle).await;
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Upstream, "it needs the result of add (f::0)"));
    assert!(failure.causes[0].starts_with("below zero"), "{failure:?}");
    harness.drain().await;
    let progress = handle.progress().await.unwrap().unwrap();
    assert_eq!((progress.succeeded, progress.failed, progress.total()), (1, 3, 4), "{progress:?}");
    assert_eq!(dead(&harness).await.len(), 1, "only the task that failed itself is a dead letter");
    assert!(!runs.all().iter().any(|run| run.contains("sum")));
}

#[tokio::test(start_paused = true)]
async fn a_flow_goes_on_with_the_errors_where_that_is_wished() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let client = harness.client();
    let late = ADD.call((0, 0)).queue("nobody").expires("1s");
    let ends = group([ADD.call((1, 1)), broken(), ADD.call((2, 2))]).settled().then(ENDS.step(()));
    assert_eq!(client.enqueue_flow(ends).await.unwrap().result().await.unwrap(), "2 Error 4");
    let end = broken().then(DOUBLE.step(())).settled().then(END.step(()));
    assert_eq!(client.enqueue_flow(end).await.unwrap().result().await.unwrap(), "Upstream");
    let handle = client.enqueue_flow(broken().settled()).await.unwrap();
    assert_eq!(handle.result().await.unwrap().unwrap_err().message, "below zero");
    let handle = client.enqueue_flow(group([broken(), late]).settled()).await.unwrap();
    harness.pass("2s").await;
    let _other = harness.worker(|worker| tasks(&runs)(worker).queue("nobody", 1)).await;
    let results = handle.result().await.unwrap();
    let kinds: Vec<FailureKind> = results.into_iter().map(|result| result.unwrap_err().kind).collect();
    assert_eq!(kinds, [FailureKind::Error, FailureKind::Expired]);
}

#[tokio::test(start_paused = true)]
async fn callbacks_run_after_the_end_that_they_are_for() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let call = |call: windlass_core::Call<i64>, word: &str| {
        call.on_success(GOOD.step((word.to_owned(),))).on_failure(TOLD.step((word.to_owned(),)))
    };
    let good = harness.client().enqueue_flow(call(ADD.call((1, 2)), "a").id("a")).await.unwrap();
    let bad = harness.client().enqueue_flow(call(broken(), "b").id("b")).await.unwrap();
    assert_eq!(good.result().await.unwrap(), 3);
    assert_eq!(failure(&bad).await.message, "below zero");
    harness.drain().await;
    let mut told: Vec<String> = runs.all().into_iter().filter(|run| !run.contains("add")).collect();
    told.sort();
    assert_eq!(told, ["good a: 3", "told b: below zero (attempt 1)"]);
    let progress = good.progress().await.unwrap().unwrap();
    assert_eq!((progress.succeeded, progress.cancelled, progress.total()), (2, 1, 3), "what is not needed has ended");
    let progress = bad.progress().await.unwrap().unwrap();
    assert_eq!((progress.succeeded, progress.failed, progress.total()), (1, 2, 3), "{progress:?}");
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_a_whole_is_told_to_its_callback_once() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let members = group([broken(), broken(), ADD.call((1, 1))]);
    let flow = members.then(SUM.step(())).then(DOUBLE.step(())).on_failure(TOLD.step(("x".to_owned(),)));
    let handle = harness.client().enqueue_flow(flow.id("f")).await.unwrap();
    assert_eq!(failure(&handle).await.kind, FailureKind::Upstream);
    harness.drain().await;
    let told: Vec<String> = runs.all().into_iter().filter(|run| run.starts_with("told")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("below zero"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_succeeds_later_lets_the_flow_go_on() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let strict = harness.worker(tasks(&runs)).await;
    let members = group([ADD.call((-1, -1)), ADD.call((-2, -2)), ADD.call((1, 1))]);
    let flow = members.then(SUM.step(())).then(DOUBLE.step(()));
    let handle = harness.client().enqueue_flow(flow.id("f")).await.unwrap();
    failure(&handle).await;
    harness.drain().await;
    strict.shutdown().await;
    let lenient = |worker: WorkerBuilder| {
        worker
            .register_fn(ADD, async |a: i64, b: i64| a + b)
            .register_fn(SUM, async |all: Vec<i64>| all.iter().sum::<i64>())
            .register_fn(DOUBLE, async |n: i64| n * 2)
    };
    let _lenient = harness.worker(lenient).await;
    let letters = dead(&harness).await;
    assert_eq!(letters.len(), 2);
    harness.broker().replay(&default_queue(), &[letters[0].id.clone().into()]).await.unwrap();
    harness.drain().await;
    assert_eq!(failure(&handle).await.kind, FailureKind::Upstream, "one is still missing");
    harness.broker().replay(&default_queue(), &[letters[1].id.clone().into()]).await.unwrap();
    harness.drain().await;
    assert_eq!(handle.result().await.unwrap(), -8);
    is_clean(&harness, 5, &handle).await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_that_is_cancelled_runs_nothing_more_and_says_why() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let members = group([ADD.call((3600, 0)), ADD.call((1, 1)).delay("1h"), ADD.call((2, 2))]);
    let flow = members.then(SUM.step(())).on_failure(TOLD.step(("x".to_owned(),)));
    let handle = harness.client().enqueue_flow(flow.id("f")).await.unwrap();
    until("the long one runs", || runs.all().iter().any(|run| run.contains("3600"))).await;
    harness.pass("1s").await;
    let progress = handle.progress().await.unwrap().unwrap();
    assert_eq!((progress.running, progress.succeeded, progress.waiting), (1, 1, 3), "{progress:?}");
    assert_eq!(handle.cancel_because("too late").await.unwrap(), 4);
    let error = handle.result_within(secs(1)).await.unwrap_err();
    assert!(matches!(&error, ResultError::Cancelled { reason: Some(reason), .. } if reason == "too late"), "{error}");
    let start = Instant::now();
    harness.drain().await;
    assert!(start.elapsed() < secs(60), "what runs is told: {:?}", start.elapsed());
    let progress = handle.progress().await.unwrap().unwrap();
    assert_eq!((progress.succeeded, progress.cancelled, progress.total()), (1, 4, 5), "{progress:?}");
    assert_eq!(runs.len(), 2, "{:?}", runs.all());
    assert_eq!(handle.cancel().await.unwrap(), 0, "a second time there is nothing left");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_cancelled_fails_what_needs_it() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(tasks(&runs)).await;
    let flow = group([ADD.call((1, 1)).delay("1h"), ADD.call((2, 2))]).then(SUM.step(()));
    let handle = harness.client().enqueue_flow(flow.id("f")).await.unwrap();
    let member = handle.task::<i64>(0).await.unwrap().unwrap();
    assert_eq!(member.id(), &TaskId::new("f::0").unwrap());
    assert_eq!(member.cancel().await.unwrap(), CancelOutcome::Cancelled);
    let failure = failure(&handle).await;
    assert_eq!(failure.kind, FailureKind::Upstream);
    assert!(failure.message.contains("f::0"), "{failure}");
    assert!(handle.task::<i64>(3).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn options_of_each_task_hold() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let _worker = harness.worker(|worker| tasks(&runs)(worker).queue("default", 10).queue("slow", 1)).await;
    let flow = ADD.call((1, 1)).then(DOUBLE.step(()).queue("slow").delay("1h")).then(DOUBLE.step(()));
    let handle = harness.client().enqueue_flow(flow.id("f")).await.unwrap();
    let start = Instant::now();
    let last = handle.task::<i64>(2).await.unwrap().unwrap();
    assert_eq!(last.status().await.unwrap().unwrap().state, State::Queued, "it waits for others");
    until("the first is done", || runs.len() == 1).await;
    harness.pass("10s").await;
    let status = handle.task::<i64>(1).await.unwrap().unwrap().status().await.unwrap().unwrap();
    assert_eq!(status.state, State::Scheduled);
    assert_eq!(last.result().await.unwrap(), 8);
    assert_eq!(handle.result().await.unwrap(), 8);
    assert!(start.elapsed() >= HOUR && start.elapsed() < HOUR + secs(30), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_same_id_is_the_same_flow() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let flow = || ADD.call((1, 2)).then(DOUBLE.step(())).id("order-7");
    let first = harness.client().enqueue_flow(flow()).await.unwrap();
    let second = harness.client().enqueue_flow(flow()).await.unwrap();
    assert_eq!((first.is_new(), second.is_new()), (true, false));
    work(&harness, &runs).await;
    assert_eq!(second.result().await.unwrap(), 6);
    // Longer than the broker remembers the tasks.
    harness.pass("48h").await;
    assert!(!harness.client().enqueue_flow(flow()).await.unwrap().is_new());
    work(&harness, &runs).await;
    assert_eq!(runs.len(), 2);
}

/// Lets a worker do what is due.
async fn work(harness: &Harness, runs: &Runs) {
    let worker = harness.worker(tasks(runs)).await;
    harness.run_until_idle().await;
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_known_as_long_as_the_flow_is() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let handle = harness.client().enqueue_flow(ADD.call((1, 1)).then(DOUBLE.step(()))).await.unwrap();
    work(&harness, &runs).await;
    harness.pass("6d").await;
    assert_eq!(handle.progress().await.unwrap().unwrap().succeeded, 2);
    assert!(matches!(handle.result().await, Err(ResultError::NotKept { .. })));
    harness.pass("2d").await;
    assert!(handle.progress().await.unwrap().is_none());
    assert!(matches!(handle.result().await, Err(ResultError::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_keeps_is_kept_for_the_flow_and_nothing_for_ever() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let none = |call: windlass_core::Call<i64>| call.result_ttl(Retention::None).status_ttl(Retention::None);
    let flow = group([none(ADD.call((1, 1))), ADD.call((2, 2)).delay("30d")]).then(SUM.step(()).delay("20d"));
    let handle = harness.client().enqueue_flow(flow.keep("1d")).await.unwrap();
    for delay in ["1m", "30d", "20d"] {
        work(&harness, &runs).await;
        harness.pass(delay).await;
    }
    work(&harness, &runs).await;
    assert_eq!(handle.result().await.unwrap(), 6, "inputs outlive the delays of what waits");
    harness.pass("53d").await;
    assert!(harness.backend().is_empty());
    assert!(harness.broker().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_input_is_gone_says_what_to_set() {
    let (harness, runs) = (Harness::new(), Runs::new());
    let first = harness.worker(tasks(&runs)).await;
    let flow = ADD.call((1, 1)).then(DOUBLE.step(()).queue("later")).keep("1d");
    let handle = harness.client().enqueue_flow(flow).await.unwrap();
    until("the first is done", || runs.len() == 1 && harness.broker().counts().running == 0).await;
    first.shutdown().await;
    harness.pass("30h").await;
    let _second = harness.worker(|worker| tasks(&runs)(worker).queue("later", 1)).await;
    let member = harness
        .client()
        .handle_of::<i64>(TaskId::new(format!("{}::1", handle.id())).unwrap(), QueueName::new("later").unwrap());
    let error = member.result().await.unwrap_err().to_string();
    assert!(error.contains("result 1 of 1 that it needs is not kept any more (setting: Flow::keep)"), "{error}");
    assert!(matches!(handle.result().await, Err(ResultError::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_and_headers_of_the_whole_hold_for_every_task() {
    let harness = Harness::new();
    const SEEN: TaskDef<(i64,), (i64, String)> = TaskDef::new("seen");
    let seen = async |context: Context, n: i64| (n, context.headers()["who"].clone());
    let _worker = harness.worker(|worker| tasks(&Runs::new())(worker).register_fn(SEEN, seen)).await;
    let flow = || ADD.call((1, 1)).then(SEEN.step(())).header("who", "me");
    let client = harness.client();
    assert_eq!(client.enqueue_flow(flow()).await.unwrap().result().await.unwrap(), (2, "me".to_owned()));
    let at = client.clock().now().plus(secs(60));
    let slow = ADD.call((1, 1)).then(DOUBLE.step(()).delay("2m")).deadline(at);
    let failure = failure(&client.enqueue_flow(slow).await.unwrap()).await;
    assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
}
