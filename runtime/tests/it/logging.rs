//! What is logged, and what is not.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use windlass_core::{Backoff, Context, TaskDef, TaskError};
use windlass_runtime::Outcome;
use windlass_testing::Harness;

use crate::support::secs;

/// Every span and event of windlass with all its fields, one a line.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Lines {
    fn add(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Text)) {
        let mut text = Text(format!("{} {} {}", metadata.level(), metadata.target(), metadata.name()));
        record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn find(&self, words: &[&str]) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).cloned().collect()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("windlass")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.add(span.metadata(), |text| span.record(text));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        self.add(event.metadata(), |text| event.record(text));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

const SECRET: &str = "4111-1111-1111-1111";
const CARD: TaskDef<(String,), String> = TaskDef::new("card");
/// The same task, called wrongly.
const WRONG: TaskDef<(Vec<String>, String), String> = TaskDef::new("card");

#[tokio::test(start_paused = true)]
async fn names_of_targets_spans_and_fields_are_as_documented_and_arguments_are_not_logged() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let harness = Harness::new();
    let work = |context: Context, card: String| async move {
        match context.attempt() {
            1 => Err(TaskError::from("declined")),
            _ => Ok(card),
        }
    };
    let worker = harness
        .worker(|worker| {
            worker.register_fn(CARD, work).on_end_of(CARD, async |_, (_,), _: Outcome<String>| Err::<(), _>("no mail"))
        })
        .await;
    let call = CARD.call((SECRET.to_owned(),)).backoff(Backoff::fixed(secs(1)));
    assert_eq!(harness.run(call).await.unwrap(), SECRET);
    let wrong = WRONG.call((vec![SECRET.to_owned()], SECRET.to_owned()));
    assert!(harness.run(wrong).await.is_err());
    harness.drain().await;
    worker.shutdown().await;

    assert_eq!(lines.find(&[SECRET]), Vec::<String>::new());
    for words in [
        &["INFO windlass::worker task ", "task_id=", "task=card", "queue=default", "attempt=2"][..],
        &["INFO windlass::worker callback ", "task_id=", "task=card", "queue=default", "state=succeeded"],
        &["WARN windlass::worker", "task retrying", "failure=\"declined (attempt 1)\"", "next=\"runs again later\""],
        &["DEBUG windlass::worker", "task succeeded", "next=\"finished\""],
        &["ERROR windlass::worker", "task failed", "the arguments cannot be decoded", "next=\"dead-lettered\""],
        &["WARN windlass::worker", "a callback has failed", "error=\"no mail\""],
        &["WARN windlass::worker", "a callback has failed", "are not what it takes"],
        &["DEBUG windlass::client", "enqueued", "is_new=true"],
    ] {
        assert_ne!(lines.find(words), Vec::<String>::new(), "{words:?} in {:#?}", lines.find(&[]));
    }
}
