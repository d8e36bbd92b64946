//! From functions to handlers: which fit, and what they answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::ParseIntError;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::time::Duration;

use serde::Serialize;
use windlass_core::message::Arguments;
use windlass_core::task::{Answer, ContextParts, Erased, Handler, Job, Signal, State, Verdict};
use windlass_core::{
    Context, ErrorKind, Interrupt, Options, QueueName, Registry, Shared, TaskDef, TaskError, TaskId, TaskName,
};

/// What a worker offers: a definition and something that fits.
fn of<A: Arguments, O: Serialize + Send + 'static, M>(_: TaskDef<A, O>, handler: impl Handler<A, O, M>) -> Erased {
    Erased::of_fn(handler)
}

fn def<A, O>() -> TaskDef<A, O> {
    TaskDef::new("x")
}

#[derive(Debug)]
struct Never;

impl Signal for Never {
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }

    fn interrupted(&self, _than: Option<Interrupt>) -> Pin<Box<dyn Future<Output = Interrupt> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

fn context(shared: Shared) -> Context {
    Context::new(ContextParts {
        id: TaskId::new("the-id").unwrap(),
        task: TaskName::new("x").unwrap(),
        queue: QueueName::default(),
        attempt: 2,
        max_attempts: 11,
        deadline: None,
        finish_by: None,
        retries_left: 9,
        headers: Default::default(),
        token: Default::default(),
        kept: windlass_core::Retention::Forever,
        shared: Arc::new(shared),
        signal: Arc::new(Never),
    })
}

fn shared() -> Shared {
    let mut shared = Shared::default();
    shared.insert("the database".to_owned());
    shared.insert(7_u8);
    shared
}

/// Runs a handler; tells on what, and the result or the error as text.
fn run(handler: &Erased, shared: Shared, payload: &str) -> Ran {
    let (kind, answer) = match handler.start(context(shared), payload.as_bytes()).unwrap() {
        Job::Async(run) => match pin!(run).poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => ("async", answer),
            Poll::Pending => panic!("the future waits"),
        },
        Job::Blocking(run) => ("blocking", run()),
    };
    let answer = answer.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).map_err(|answer| match answer {
        Answer::Task(error) => error.to_string(),
        Answer::Unencodable(error) => error.to_string(),
    });
    (kind, answer)
}

async fn add(a: i64, b: i64) -> i64 {
    a + b
}

async fn two(_: Context, database: State<String>, text: String) -> Result<i64, ParseIntError> {
    assert_eq!(*database, "the database");
    text.parse()
}

async fn three(context: Context, text: State<String>, number: State<u8>) -> String {
    format!("{} {} {} {}", context.id(), context.attempt(), *text, *number)
}

fn text(a: u8) -> Result<String, TaskError> {
    Ok(a.to_string())
}

fn same(a: u8) -> Result<String, String> {
    if a == 0 { Err("zero".to_owned()) } else { Ok(a.to_string()) }
}

fn blocking(context: Context, a: u8) -> String {
    format!("{}{a}", context.queue())
}

/// On what a handler ran, and the result or the error as text.
type Ran = (&'static str, Result<String, String>);

type Eight = (u8, u8, u8, u8, u8, u8, u8, u8);

#[test]
fn functions_and_closures_fit_without_a_word_about_types() {
    let ok = |text: &str| Ok(text.to_owned());
    let eight = |a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8| [a, b, c, d, e, f, g, h].iter().sum::<u8>();
    let cases: [(Erased, &str, Ran); 13] = [
        (of(def::<(i64, i64), i64>(), add), "[2,3]", ("async", ok("5"))),
        (of(def::<(String,), i64>(), two), "[\"42\"]", ("async", ok("42"))),
        (of(def::<(String,), i64>(), two), "[\"x\"]", ("async", Err("invalid digit found in string".into()))),
        (of(def::<(), String>(), three), "[]", ("async", ok("\"the-id 2 the database 7\""))),
        (of(def::<(u8,), String>(), text), "[7]", ("blocking", ok("\"7\""))),
        (of(def::<(u8,), String>(), same), "[7]", ("blocking", ok("\"7\""))),
        (of(def::<(u8,), String>(), same), "[0]", ("blocking", Err("zero".into()))),
        (of(def::<(u8,), String>(), blocking), "[7]", ("blocking", ok("\"default7\""))),
        (of(def::<(), ()>(), || ()), "[]", ("blocking", ok("null"))),
        (of(def::<(i64, i64), i64>(), |a: i64, b: i64| async move { a + b }), "[2,3]", ("async", ok("5"))),
        (of(def::<Eight, u8>(), eight), "[1,2,3,4,5,6,7,8]", ("blocking", ok("36"))),
        (
            of(def::<(i64,), i64>(), |a: i64| async move { Err::<i64, _>(TaskError::permanent(format!("no {a}"))) }),
            "[2]",
            ("async", Err("no 2".into())),
        ),
        (
            of(def::<(Option<u8>,), Vec<u8>>(), async |a: Option<u8>| a.into_iter().collect::<Vec<u8>>()),
            "[null]",
            ("async", ok("[]")),
        ),
    ];
    for (index, (handler, payload, expected)) in cases.into_iter().enumerate() {
        assert_eq!(run(&handler, shared(), payload), expected, "case {index}");
    }
}

#[test]
fn a_closure_may_keep_what_it_needs() {
    let factor = Arc::new(3);
    let handler = of(def::<(i64,), i64>(), move |a: i64| {
        let factor = Arc::clone(&factor);
        async move { a * *factor }
    });
    for a in 0..3 {
        assert_eq!(run(&handler.clone(), shared(), &format!("[{a}]")).1, Ok((a * 3).to_string()));
    }
}

#[test]
fn a_state_that_the_worker_does_not_have_ends_the_run_for_good() {
    let text = "the worker has no State<u8>: give it with .state(value of type u8)";
    let asks = |_: State<u8>| ();
    for handler in [of(def::<(), ()>(), asks), of(def::<(), ()>(), async |_: State<u8>| ())] {
        assert_eq!(run(&handler, Shared::default(), "[]").1, Err(text.to_owned()));
    }
    let error = <State<u8> as windlass_core::task::FromContext>::from_context(&context(Shared::default()));
    assert_eq!(error.unwrap_err().verdict(), Verdict::Permanent);
}

#[test]
fn arguments_that_do_not_fit_are_told_before_anything_runs() {
    let handler = of(def::<(i64, i64), i64>(), add);
    for (payload, text) in [
        ("[2]", "invalid length 1, expected a tuple of size 2"),
        ("[2,3,4]", "trailing characters"),
        ("[2,\"3\"]", "invalid type: string \"3\", expected i64"),
        ("{}", "invalid type: map, expected a tuple of size 2"),
        ("", "EOF while parsing a value"),
        ("[2,3] x", "trailing characters"),
    ] {
        let error = handler.start(context(shared()), payload.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec, "{payload}");
        let expected = format!("arguments: cannot be decoded: {text}");
        assert!(error.to_string().starts_with(&expected), "{payload}: {error}");
    }
    let error = of(def::<(), ()>(), || ()).start(context(shared()), b"[1]").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
}

#[test]
fn a_result_that_cannot_be_written_is_told_apart() {
    let handler = of(def::<(), BTreeMap<Vec<u8>, u8>>(), || BTreeMap::from([(vec![1_u8], 2_u8)]));
    let text = "result: cannot be encoded: key must be a string";
    assert_eq!(run(&handler, shared(), "[]"), ("blocking", Err(text.to_owned())));
}

#[test]
fn errors_of_tasks_say_what_should_follow() {
    let second = Duration::from_secs(1);
    let question = || -> Result<i64, TaskError> { Ok("x".parse::<i64>()?) };
    for (error, verdict, text) in [
        (question().unwrap_err(), Verdict::Retry, "invalid digit found in string"),
        ("plain".into(), Verdict::Retry, "plain"),
        (TaskError::permanent("never"), Verdict::Permanent, "never"),
        (TaskError::retry_after("1s", "later").unwrap(), Verdict::RetryAfter(second), "later"),
        (TaskError::snooze(second).unwrap(), Verdict::Snooze(second), "run again in 1s"),
        (TaskError::cancel("enough"), Verdict::Cancel, "enough"),
    ] {
        assert_eq!((error.verdict(), error.to_string().as_str()), (verdict, text));
    }
    assert_eq!(TaskError::snooze("soon").unwrap_err().kind(), ErrorKind::Invalid);
    assert!(question().unwrap_err().cause().unwrap().is::<ParseIntError>(), "the error itself is kept");
}

#[test]
fn a_name_has_one_handler() {
    let mut registry = Registry::default();
    let options = Options { max_retries: Some(3), ..Options::default() };
    registry.insert("b", of(def(), add), options.clone()).unwrap();
    registry.insert("a:1", of(def(), text), Options::default()).unwrap();
    let twice = registry.insert("b", of(def(), text), Options::default()).unwrap_err();
    assert_eq!(
        (twice.kind(), twice.to_string().as_str()),
        (ErrorKind::Config, "register: two handlers for the task \"b\"")
    );
    let bad = registry.insert("a b", of(def(), add), Options::default()).unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Invalid);
    assert_eq!(registry.names(), ["a:1", "b"]);
    let found = registry.get(&TaskName::new("b").unwrap()).unwrap();
    assert_eq!((&found.options, run(&found.handler, shared(), "[1,1]").1), (&options, Ok("2".to_owned())));
    assert!(registry.get(&TaskName::new("c").unwrap()).is_none());
}

#[test]
fn a_second_value_of_a_type_replaces_the_first() {
    let mut shared = shared();
    shared.insert(8_u8);
    assert_eq!((shared.get::<u8>().as_deref(), shared.get::<u16>()), (Some(&8), None));
    assert_eq!(format!("{shared:?}"), "Shared(2 values)");
}
