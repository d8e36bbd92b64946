//! Entries: added, ensured, changed, paused, run now and removed, while schedulers run or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::{Backoff, Call, ErrorKind, Expected, NoteChange, NoteKey, Notebook, Priority, Retention, Schedule};
use windlass_runtime::periodic::{Ensured, MissedTicks, Periodic, PeriodicTasks, Scheduler};
use windlass_runtime::{Client, ClientSettings};
use windlass_testing::{MemoryBroker, TokioClock};

use super::fleet::{Fleet, REPORT, report};

const MINUTE: Duration = Duration::from_secs(60);

fn key(name: String) -> NoteKey {
    NoteKey::new("periodic", name).unwrap()
}

fn minutely() -> Periodic {
    Periodic::every("1m")
}

#[tokio::test(start_paused = true)]
async fn an_entry_keeps_what_the_call_asked_for() {
    let fleet = Fleet::new();
    let call = report()
        .queue("reports")
        .priority(Priority::High)
        .expires("30s")
        .max_retries(2)
        .timeout("9s")
        .backoff(Backoff::fixed(Duration::from_secs(5)))
        .header("tenant", "7");
    fleet.tasks.add(minutely().named("seven"), call).await.unwrap();
    let entry = fleet.tasks.get("seven").await.unwrap().unwrap();
    assert_eq!((entry.name.as_str(), entry.message.task.as_str(), entry.paused), ("seven", "report", false));
    assert_eq!(entry.next, Some(entry.last.plus(MINUTE)));
    assert!(!format!("{entry:?}").contains("payload"), "arguments are not printed");

    let scheduler = fleet.scheduler();
    sleep(MINUTE + Duration::from_secs(1)).await;
    scheduler.stop().await;
    let [(task, None)] = &fleet.broker.waiting()[..] else { panic!("{:?}", fleet.waiting()) };
    assert_eq!((task.queue.as_str(), &task.payload[..], task.schedule), ("reports", &b"[7]"[..], Schedule::Now));
    assert_eq!((task.options.priority, task.options.max_retries), (Some(Priority::High), Some(2)));
    assert_eq!(task.options.expires, Some(Duration::from_secs(30)));
    assert_eq!(task.options.timeout, Some(Duration::from_secs(9)));
    assert_eq!(task.options.headers["tenant"], "7");
    assert_eq!(task.options.headers["periodic.name"], "seven");
    assert_eq!(format!("seven:{}", task.options.headers["periodic.tick"]), task.id.to_string());
}

#[tokio::test(start_paused = true)]
async fn without_a_name_an_entry_has_that_of_its_task_and_a_name_is_taken_once() {
    let fleet = Fleet::new();
    fleet.tasks.add(minutely(), report()).await.unwrap();
    let error = fleet.tasks.add(minutely(), report()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "periodic name: \"report\" is not allowed: it is taken: change or ensure it");
    let page = fleet.tasks.list(None).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["report"]);
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let fleet = Fleet::new();
    let hour = fleet.now().plus(Duration::from_secs(3600));
    let table: [(Periodic, Call<()>, &str); 9] = [
        (Periodic::cron("61 * * * *"), report(), "cron: "),
        (
            Periodic::cron("0 0 30 2 *"),
            report(),
            "cron: \"0 0 30 2 * (UTC)\" is not allowed: an expression that ever comes",
        ),
        (Periodic::cron("0 0 0 1 1 * 2020"), report(), "cron: "),
        (Periodic::cron("* * * * *").tz("Europe/Berln"), report(), "tz: "),
        (minutely().named("a b"), report(), "periodic name: "),
        (minutely().missed(MissedTicks::All { max: 0 }), report(), "missed: "),
        (minutely(), report().id("mine"), "id: a call with it is not allowed"),
        (minutely(), report().delay("5s"), "delay: "),
        (minutely(), report().deadline(hour), "deadline: "),
    ];
    for (periodic, call, text) in table {
        let error = fleet.tasks.ensure(periodic, call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
    let error = fleet.tasks.add(minutely(), Call::<()>::raw("bad name", "[]")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let full = "x".repeat(windlass_core::limits::HEADER_BYTES - 10);
    let error = fleet.tasks.add(minutely(), report().header("h", full)).await.unwrap_err();
    assert!(error.to_string().starts_with("headers: "), "those of a tick have no room: {error}");
    assert!(fleet.tasks.list(None).await.unwrap().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn ensure_writes_only_what_differs_and_keeps_the_last_tick() {
    let fleet = Fleet::new();
    let wanted = || minutely().named("x");
    let call = || report().expires(Duration::from_micros(30_000_500));
    assert_eq!(fleet.tasks.ensure(wanted(), call()).await.unwrap(), Ensured::Added);
    let scheduler = fleet.scheduler();
    sleep(MINUTE * 3 + MINUTE / 2).await;
    let before = fleet.tasks.get("x").await.unwrap().unwrap();
    fleet.tasks.pause("x").await.unwrap();

    assert_eq!(fleet.tasks.ensure(wanted(), call()).await.unwrap(), Ensured::Unchanged);
    assert_eq!(fleet.tasks.ensure(wanted(), call().queue("other")).await.unwrap(), Ensured::Changed);
    let after = fleet.tasks.get("x").await.unwrap().unwrap();
    assert_eq!((after.last, &after.cadence), (before.last, &before.cadence), "neither ticks nor anchor move");
    assert!(after.paused, "who pauses an entry means it");
    assert_eq!(after.message.queue.as_str(), "other");

    // Another cadence counts from now.
    assert_eq!(fleet.tasks.ensure(Periodic::every("2m").named("x"), call()).await.unwrap(), Ensured::Changed);
    assert_eq!(fleet.tasks.get("x").await.unwrap().unwrap().last.as_millis(), fleet.now().as_millis());
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn changes_are_seen_at_once_while_a_scheduler_runs() {
    let fleet = Fleet::new();
    let scheduler = fleet.scheduler();
    sleep(Duration::from_secs(2)).await;
    // Nobody looks for eight seconds: the change is heard.
    fleet.tasks.add(Periodic::every("1s").named("often"), report()).await.unwrap();
    sleep(Duration::from_millis(3_100)).await;
    assert_eq!(fleet.waiting().len(), 3, "{:?}", fleet.waiting());

    fleet.tasks.pause("often").await.unwrap();
    assert_eq!(fleet.tasks.get("often").await.unwrap().unwrap().next, None);
    sleep(MINUTE).await;
    assert_eq!(fleet.waiting().len(), 3, "it rests");

    fleet.tasks.resume("often").await.unwrap();
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(fleet.waiting().len(), 5, "what passed in the pause was not missed: {:?}", fleet.waiting());

    fleet.tasks.change(Periodic::every("1m").named("often"), REPORT.call((8,))).await.unwrap();
    sleep(MINUTE + Duration::from_secs(1)).await;
    let payloads: Vec<bool> = fleet.broker.waiting().iter().map(|(task, _)| &task.payload[..] == b"[8]").collect();
    assert_eq!(payloads.iter().filter(|is_new| **is_new).count(), 1);

    assert!(fleet.tasks.remove("often").await.unwrap());
    assert!(!fleet.tasks.remove("often").await.unwrap());
    sleep(MINUTE * 5).await;
    assert_eq!(fleet.waiting().len(), 6);
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_runs_now_beside_its_ticks() {
    let fleet = Fleet::new();
    fleet.tasks.add(Periodic::cron("0 0 1 1 *").named("yearly"), report().queue("rare").max_retries(4)).await.unwrap();
    fleet.tasks.pause("yearly").await.unwrap();
    let last = fleet.tasks.get("yearly").await.unwrap().unwrap().last;
    let handles =
        [fleet.tasks.run_now::<()>("yearly").await.unwrap(), fleet.tasks.run_now::<()>("yearly").await.unwrap()];
    assert_ne!(handles[0].id(), handles[1].id());
    assert!(handles[0].is_new());
    let waiting = fleet.broker.waiting();
    assert_eq!(waiting.len(), 2);
    assert_eq!((waiting[0].0.queue.as_str(), waiting[0].0.options.max_retries), ("rare", Some(4)));
    assert_eq!(fleet.tasks.get("yearly").await.unwrap().unwrap().last, last);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_has_is_told() {
    let fleet = Fleet::new();
    let text = "periodic name: \"gone\" is not allowed: the name of an entry; there is none of this name";
    for answer in [
        fleet.tasks.pause("gone").await,
        fleet.tasks.resume("gone").await,
        fleet.tasks.change(minutely().named("gone"), report()).await,
        fleet.tasks.run_now::<()>("gone").await.map(drop),
    ] {
        assert_eq!(answer.unwrap_err().to_string(), text);
    }
    assert!(fleet.tasks.get("gone").await.unwrap().is_none());
    assert_eq!(fleet.tasks.get("a/b").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn many_entries_are_listed_by_pages() {
    let fleet = Fleet::new();
    for number in 0..1_500 {
        fleet.tasks.add(Periodic::every("1h").named(format!("entry-{number:04}")), report()).await.unwrap();
    }
    let first = fleet.tasks.list(None).await.unwrap();
    let second = fleet.tasks.list(first.next.as_deref()).await.unwrap();
    assert_eq!((first.entries.len(), second.entries.len(), second.next), (1000, 500, None));
    assert_eq!(second.entries[0].name, "entry-1000");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_entries_are_not_looked_at_while_none_is_due() {
    let fleet = Fleet::new();
    fleet.tasks.add(Periodic::every("9d").named("entry"), report()).await.unwrap();
    let [note] = &fleet.backend.read(&[key("entry".into())]).await.unwrap()[..] else { panic!("it is there") };
    let copy = |number| NoteChange {
        key: key(format!("entry-{number}")),
        expected: Expected::Absent,
        value: note.as_ref().map(|note| note.value.clone()),
        keep: Retention::Forever,
    };
    let copies: Vec<NoteChange> = (0..10_000).map(copy).collect();
    fleet.backend.write(&copies).await.unwrap();
    let node = fleet.node(super::fleet::Chaos::default());
    let scheduler = super::fleet::Running::start(&node.client);
    sleep(Duration::from_secs(1)).await;
    let before = node.backend.calls();
    sleep(Duration::from_secs(250)).await;
    let calls = node.backend.calls() - before;
    assert!(calls <= 26, "{calls} calls in 250 s of nothing to do");
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_the_cure_is_named() {
    let broker = Arc::new(MemoryBroker::new());
    let client = Client::with_clock(broker, None, ClientSettings::default(), Arc::new(TokioClock));
    let error = PeriodicTasks::new(&client).add(minutely(), report()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("set backend.url"), "{error}");
    assert_eq!(Scheduler::new(&client).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn what_this_scheduler_cannot_read_stands_in_nobodys_way() {
    let fleet = Fleet::new();
    let write = |name: &str, value: &'static str| NoteChange {
        key: key(name.into()),
        expected: Expected::Absent,
        value: Some(bytes::Bytes::from_static(value.as_bytes())),
        keep: Retention::Forever,
    };
    let notes = [write("broken", "?"), write("newer", "{\"v\":99}\n")];
    fleet.backend.write(&notes).await.unwrap();
    fleet.tasks.add(minutely().named("good"), report()).await.unwrap();
    let scheduler = fleet.scheduler();
    sleep(MINUTE * 2 + MINUTE / 2).await;
    assert_eq!(fleet.waiting().len(), 2);
    assert_eq!(fleet.tasks.list(None).await.unwrap().entries.len(), 1);
    assert_eq!(fleet.tasks.get("newer").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(fleet.tasks.remove("broken").await.unwrap());
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_what_comes_at_once() {
    let fleet = Fleet::new();
    for number in 0..50 {
        let periodic = minutely().named(format!("entry-{number}")).jitter("30s");
        fleet.tasks.add(periodic, report()).await.unwrap();
    }
    let begin = Instant::now();
    let scheduler = fleet.scheduler();
    sleep(MINUTE + Duration::from_secs(1)).await;
    let now = fleet.now();
    let later = fleet.broker.waiting().iter().filter(|(_, due)| due.is_some_and(|due| due > now)).count();
    assert!(later > 35, "{later} of 50 wait after {:?}", begin.elapsed());
    scheduler.stop().await;
}
