//! Dead letters: listed, replayed by filter and at a rate, edited, discarded.

use std::sync::Arc;

use tokio::time::Instant;
use windlass_core::{Backoff, Call, DeadLetter, ErrorKind, FailureKind, TaskDef};
use windlass_runtime::{DeadLetters, Worker};
use windlass_testing::fault::BrokerCall;
use windlass_testing::{Harness, MemoryBroker, fixture};

use crate::support::{WORK, client, dead, default_queue, millis, secs};

const MAIL: TaskDef<(String,), u32> = TaskDef::new("mail");

/// Fails for what is below 100, with the number in its text.
async fn picky(n: u32) -> Result<u32, String> {
    if n < 100 { Err(format!("{n} is too small")) } else { Ok(n) }
}

async fn worker(harness: &Harness) -> Worker {
    let mail = async |to: String| if to.is_empty() { panic!("nobody") } else { to.len() as u32 };
    harness.worker(|worker| worker.register_fn(WORK, picky).register_fn(MAIL, mail)).await
}

/// Lets these tasks die, and stops the worker.
async fn let_die(harness: &Harness, calls: impl IntoIterator<Item = Call<u32>>) {
    let worker = worker(harness).await;
    for handle in harness.client().enqueue_many(calls.into_iter().map(|call| call.max_retries(0))).await {
        handle.unwrap();
    }
    harness.drain().await;
    worker.shutdown().await;
}

fn letters(harness: &Harness) -> DeadLetters {
    harness.client().dead("default").unwrap()
}

#[tokio::test(start_paused = true)]
async fn letters_are_listed_page_by_page_with_all_that_is_known() {
    let harness = Harness::new();
    let_die(&harness, (0..5).map(|n| WORK.call((n,)).header("n", "x"))).await;
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let page = letters(&harness).list(cursor.as_deref(), 2).await.unwrap();
        assert!(page.letters.len() <= 2);
        found.extend(page.letters);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    let letter = &found[3];
    let message = letter.content.as_ref().unwrap();
    assert_eq!((&message.payload[..], message.options.headers.len()), (&b"[3]"[..], 1));
    assert_eq!((letter.progress.failures, letter.reason.contains("3 is too small")), (1, true), "{}", letter.reason);
}

#[tokio::test(start_paused = true)]
async fn a_selection_takes_what_meets_every_condition() {
    let harness = Harness::new();
    let_die(&harness, (0..250).map(|n| WORK.call((n % 4,)))).await;
    let_die(&harness, [MAIL.call((String::new(),))]).await;
    harness.pass("1h").await;
    let_die(&harness, [WORK.call((1,))]).await;
    harness.broker().push_raw(&default_queue(), &fixture::task_id(), fixture::binary());
    let_die(&harness, []).await;
    let all = || letters(&harness).select();
    for (selection, expected) in [
        (all(), 253),
        (all().task("work"), 251),
        (all().task("mail"), 1),
        (all().task("mail").reason("small"), 0),
        (all().reason("2 is too small"), 62),
        (all().kind(FailureKind::Panic), 1),
        (all().kind(FailureKind::Error).reason("3 is"), 62),
        (all().kind(FailureKind::Undecodable), 1),
        (all().kind(FailureKind::Timeout), 0),
        (all().older_than("30m"), 251),
        (all().younger_than("30m"), 2),
        (all().younger_than("30m").task("work"), 1),
    ] {
        let text = format!("{selection:?}");
        assert_eq!(selection.count().run().await.unwrap(), expected, "{text}");
    }
    assert_eq!(all().task("work").reason("0 is").discard().run().await.unwrap(), 63);
    assert_eq!(all().count().run().await.unwrap(), 190);
    let again = worker(&harness).await;
    assert_eq!(all().reason("1 is").replay().run().await.unwrap(), 64);
    harness.drain().await;
    assert_eq!(again.shutdown().await.failed, 64, "they fail again");
    assert_eq!(all().count().run().await.unwrap(), 190);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_ends_although_what_it_replays_dies_again() {
    let harness = Harness::new();
    let_die(&harness, (0..150).map(|n| WORK.call((n % 100,)))).await;
    let running = worker(&harness).await;
    harness.pass("1s").await;
    let mut sweep = letters(&harness).select().rate(10.0).replay();
    assert_eq!(sweep.run().await.unwrap(), 150);
    assert_eq!(sweep.run().await.unwrap(), 150, "it is over");
    harness.drain().await;
    assert_eq!(running.shutdown().await.failed, 150);
    assert_eq!(letters(&harness).select().count().run().await.unwrap(), 150);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_evenly_spread() {
    let harness = Harness::new();
    let_die(&harness, (0..120).map(|n| WORK.call((n % 100,)))).await;
    for (rate, count, took) in [(2.0, 20, secs(9)), (50.0, 100, millis(1_800))] {
        let start = Instant::now();
        let mut sweep = letters(&harness).select().rate(rate).replay();
        let limit = took + millis(600);
        let _ = tokio::time::timeout(took, sweep.run()).await;
        assert!(sweep.done() < count && sweep.done() * 10 > count * 8, "{} of {count} at {rate}", sweep.done());
        let rest = tokio::time::timeout(limit - start.elapsed(), async {
            while sweep.done() < count {
                let _ = tokio::time::timeout(millis(50), sweep.run()).await;
            }
        });
        rest.await.unwrap_or_else(|_| panic!("only {} of {count} at {rate}", sweep.done()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_dropped_or_fails_goes_on_where_it_was() {
    let harness = Harness::new();
    let_die(&harness, (0..350).map(|n| WORK.call((n % 100,)))).await;
    let mut sweep = letters(&harness).select().rate(100.0).replay();
    assert!(tokio::time::timeout(secs(1), sweep.run()).await.is_err());
    let first = sweep.done();
    assert!((90..=120).contains(&first), "{first}");
    harness.broker_faults().fail_before(BrokerCall::Replay, 3, ErrorKind::Unavailable);
    assert_eq!(sweep.run().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(sweep.done() > first);
    // Another process goes on from its place.
    let cursor = sweep.cursor().unwrap().to_owned();
    let before = sweep.done();
    let rest = letters(&harness).select().after(cursor).replay().run().await.unwrap();
    assert_eq!(before + rest, 350);
    assert_eq!(dead(&harness).await.len(), 0);
    assert_eq!(harness.broker().counts().queued, 350, "each is there once");
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_replayed_with_what_is_edited_and_keeps_the_rest() {
    let harness = Harness::new();
    let calls =
        (0..3).map(|n| WORK.call((n,)).id(format!("t{n}")).header("trace", "abc").backoff(Backoff::fixed(secs(7))));
    let_die(&harness, calls).await;
    let dead_letters = letters(&harness);
    let page = dead_letters.list(None, 10).await.unwrap();
    assert_eq!(dead_letters.replay_edited(&page.letters[0], WORK.call((100,))).await.unwrap(), 1);
    assert_eq!(
        dead_letters.replay_edited(&page.letters[1], Call::<u32>::raw("work", "[101]").max_retries(3)).await.unwrap(),
        1
    );
    assert_eq!(
        dead_letters.replay_edited(&page.letters[1], WORK.call((102,))).await.unwrap(),
        0,
        "it is not dead any more"
    );
    let waiting = harness.broker().waiting();
    let options = |at: usize| &waiting[at].0.options;
    assert_eq!((options(0).max_retries, options(1).max_retries), (Some(0), Some(3)));
    assert!((0..2).all(|at| options(at).headers["trace"] == "abc" && options(at).backoff.is_some()));
    let running = worker(&harness).await;
    harness.drain().await;
    for (id, expected) in [("t0", 100), ("t1", 101)] {
        let handle = harness.client().handle_of::<u32>(id.parse().unwrap(), default_queue());
        assert_eq!(handle.result().await.unwrap(), expected);
    }
    assert_eq!(dead_letters.replay(&["t2".parse().unwrap(), "nobody".parse().unwrap()]).await.unwrap(), 1);
    harness.drain().await;
    assert_eq!(dead_letters.discard(&["t2".parse().unwrap()]).await.unwrap(), 1);
    assert!(dead(&harness).await.is_empty());
    running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn many_letters_are_edited_on_their_way() {
    let harness = Harness::new();
    let_die(&harness, (0..150).map(|n| WORK.call((n % 100,)))).await;
    let number = |letter: &DeadLetter| {
        let text = String::from_utf8(letter.content.as_ref().ok()?.payload.to_vec()).ok()?;
        text.trim_matches(['[', ']']).parse::<u32>().ok()
    };
    let edit = move |letter: &DeadLetter| number(letter).filter(|n| *n >= 10).map(|n| WORK.call((n + 100,)));
    assert_eq!(letters(&harness).select().task("work").replay_edited(edit).run().await.unwrap(), 130);
    let running = worker(&harness).await;
    harness.drain().await;
    let report = running.shutdown().await;
    assert_eq!((report.succeeded, report.failed), (130, 0));
    assert_eq!(letters(&harness).select().count().run().await.unwrap(), 20, "what is not edited stays");
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_before_any_call() {
    let harness = Harness::new();
    let_die(&harness, [WORK.call((1,))]).await;
    let dead_letters = letters(&harness);
    let letter = dead_letters.list(None, 1).await.unwrap().letters.remove(0);
    let large = || Call::<u32>::raw("work", vec![b'1'; 1024 * 1024 + 1]);
    let error = dead_letters.replay_edited(&letter, large()).await.unwrap_err();
    let listed = harness.broker_faults().calls(BrokerCall::DeadLetters);
    let select = || dead_letters.select();
    let select_edited = select().replay_edited(move |_| Some(large())).run().await.unwrap_err();
    for (error, parts) in [
        (error, ["payload", "1048577 B", &letter.id.to_string()]),
        (select_edited, ["payload", "1048577 B", &letter.id.to_string()]),
        (select().rate(0.0).replay().run().await.unwrap_err(), ["rate", "0", "more than 0"]),
        (select().rate(f64::NAN).replay().run().await.unwrap_err(), ["rate", "NaN", "more than 0"]),
        (select().task("no/slash").discard().run().await.unwrap_err(), ["task name", "'/'", "byte 2"]),
        (select().older_than("-1s").count().run().await.unwrap_err(), ["older_than", "-1s", "not negative"]),
        (select().after("nonsense").count().run().await.unwrap_err(), ["cursor", "\"nonsense\"", ""]),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
        }
    }
    assert_eq!(harness.broker_faults().calls(BrokerCall::DeadLetters), listed + 2, "a page to edit, and the cursor");
    assert_eq!(harness.broker_faults().calls(BrokerCall::Replay), 0);
    let alone = client(Arc::new(MemoryBroker::new()), None);
    let error = alone.dead("default").unwrap().select().kind(FailureKind::Panic).replay().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("set backend.url"), "{error}");
}
