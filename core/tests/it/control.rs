//! What a task decides about itself, and what it gives to its children.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use windlass_core::policy::FailureClass;
use windlass_core::task::{CallParts, Children, ContextParts, Enqueue, Enqueued, Reports, Signal, Verdict};
use windlass_core::{
    Context, Disposition, ErrorKind, Event, ExecutionPolicy, Interrupt, Progress, QueueName, Result, Retention, Shared,
    Snapshot, State, TaskDef, TaskError, TaskId, TaskName, Timestamp, Token, transition,
};

const NOW: Timestamp = Timestamp::from_micros(1_763_710_000_000_000);
const CHILD: TaskDef<(u32,), ()> = TaskDef::new("child");

/// Ten seconds each.
const fn at(step: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + step * 10_000_000)
}

/// What fails with these counts: the state after it, and the retries that are left then.
fn fails(progress: Progress, asked: u32) -> (State, u32) {
    let policy = ExecutionPolicy { max_retries: asked, ..ExecutionPolicy::default() };
    let event = Event::Failed(FailureClass::Error { retry_after: None });
    let made = transition(Snapshot { state: State::Running, progress }, event, &policy, NOW, 0.0).unwrap();
    (made.next.state, made.next.progress.retries_left(asked))
}

#[test]
fn retries_that_a_task_has_set_take_the_place_of_those_that_were_asked_for() {
    let third = Progress { failures: 2, ..Progress::default() };
    assert_eq!((third.retries(10), third.retries_left(10)), (10, 8));
    assert_eq!(fails(third, 10), (State::Retrying, 7));
    assert_eq!(fails(third, 2), (State::Failed, 0));
    for left in 0..5 {
        let set = third.with_retries_left(left);
        assert_eq!((set.retries(10), set.retries_left(10)), (2 + left, left));
        let expected = if left == 0 { (State::Failed, 0) } else { (State::Retrying, left - 1) };
        assert_eq!(fails(set, 10), expected, "{left}");
        assert_eq!(fails(set, 0), expected, "what was asked for does not count any more");
        assert_eq!(Progress::read(&set.to_string()), set, "it is kept beside the message");
    }
}

#[test]
fn what_a_task_has_set_is_kept_by_all_that_is_no_failure() {
    let set = Progress { losses: 1, ..Progress::default() }.with_retries_left(3);
    let policy = ExecutionPolicy::default();
    for event in [Event::Released, Event::LeaseLost, Event::Snoozed(std::time::Duration::ZERO)] {
        let made = transition(Snapshot { state: State::Running, progress: set }, event, &policy, NOW, 0.0).unwrap();
        assert_eq!(made.next.progress.max_retries, Some(3), "{event:?}");
    }
    let back = Snapshot { state: State::Failed, progress: set };
    let made = transition(back, Event::Replayed, &policy, NOW, 0.0).unwrap();
    assert_eq!(made.next.progress, Progress::default(), "a new life has what was asked for");
}

#[test]
fn a_retry_now_is_a_retry_without_a_pause() {
    let error = TaskError::retry_now("busy");
    let Verdict::RetryAfter(pause) = error.verdict() else { panic!("{error:?}") };
    let event = Event::Failed(FailureClass::Error { retry_after: Some(pause) });
    let running = Snapshot { state: State::Running, progress: Progress::default() };
    let made = transition(running, event, &ExecutionPolicy::default(), NOW, 0.5).unwrap();
    assert_eq!(made.effects.settle, Some(Disposition::Requeue { after: std::time::Duration::ZERO }));
}

#[test]
fn places_in_the_history_are_never_taken_twice() {
    let mut progress = Progress::default();
    let mut places = Vec::new();
    for lost in [false, true, true, false, false, true] {
        places.push(progress.place());
        if lost { progress.losses += 1 } else { progress.failures += 1 }
    }
    assert_eq!(places, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn reasons_to_end_are_ordered_by_what_they_leave_to_do() {
    let order = [Interrupt::SoftTimeout, Interrupt::Shutdown, Interrupt::Cancelled, Interrupt::LeaseLost];
    assert!(order.is_sorted_by(|a, b| a < b));
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

/// Takes every child but those with the argument 13.
#[derive(Debug, Default, Clone)]
struct Fake(Arc<Mutex<Vec<CallParts>>>);

#[async_trait]
impl Enqueue for Fake {
    async fn enqueue(&self, calls: Vec<CallParts>) -> Vec<Result<Enqueued>> {
        let answer = |call: CallParts| {
            if &call.payload[..] == b"[13]" {
                return Err(windlass_core::Error::new(ErrorKind::Full, "enqueue", "no room"));
            }
            let id = call.id.clone().unwrap_or_else(|| TaskId::new("made").unwrap());
            self.0.lock().unwrap().push(call);
            Ok(Enqueued { id, queue: QueueName::default(), is_new: true })
        };
        calls.into_iter().map(answer).collect()
    }
}

fn parent(children: Option<&Fake>, finish_by: Option<Timestamp>) -> Context {
    let mut shared = Shared::default();
    if let Some(fake) = children {
        shared.insert(Children(Arc::new(fake.clone())));
    }
    let headers = [("traceparent", "t"), ("tracestate", "s"), ("tenant", "7")];
    Context::new(ContextParts {
        id: TaskId::new("the-id").unwrap(),
        task: TaskName::new("parent").unwrap(),
        queue: QueueName::default(),
        attempt: 2,
        max_attempts: 11,
        deadline: None,
        finish_by,
        retries_left: 9,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        token: Token(3),
        kept: Retention::Forever,
        shared: Arc::new(shared),
        signal: Arc::new(Never),
    })
}

/// The answer of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn a_child_has_the_trace_of_its_parent_unless_it_names_one() {
    let fake = Fake::default();
    let context = parent(Some(&fake), None);
    now(context.enqueue(CHILD.call((1,)).header("tracestate", "own"))).unwrap();
    let calls = fake.0.lock().unwrap();
    let headers: Vec<(&str, &str)> = calls[0].options.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("traceparent", "t"), ("tracestate", "own")]);
}

#[test]
fn a_child_must_be_finished_by_the_earlier_deadline() {
    let of_child = |parent_by: Option<i64>, own: Option<i64>| {
        let fake = Fake::default();
        let call = CHILD.call((1,));
        let call = match own {
            Some(step) => call.deadline(at(step)),
            None => call,
        };
        now(parent(Some(&fake), parent_by.map(at)).enqueue(call)).unwrap();
        let calls = fake.0.lock().unwrap();
        calls[0].options.deadline
    };
    assert_eq!(of_child(None, None), None);
    assert_eq!(of_child(Some(1), None), Some(at(1)));
    assert_eq!(of_child(None, Some(2)), Some(at(2)));
    assert_eq!(of_child(Some(1), Some(2)), Some(at(1)));
    assert_eq!(of_child(Some(2), Some(1)), Some(at(1)));
}

#[test]
fn many_children_are_answered_in_their_order_and_a_bad_one_stops_no_other() {
    let fake = Fake::default();
    let context = parent(Some(&fake), None);
    let calls = [
        CHILD.call((1,)).id("one"),
        CHILD.call((2,)).queue("no queue"),
        CHILD.call((13,)),
        CHILD.call((4,)).id("four"),
    ];
    let answers = now(context.enqueue_many(calls));
    let kinds: Vec<_> =
        answers.iter().map(|it| it.as_ref().map(|it| it.id.to_string()).map_err(|e| e.kind())).collect();
    assert_eq!(kinds, [Ok("one".to_owned()), Err(ErrorKind::Invalid), Err(ErrorKind::Full), Ok("four".to_owned())]);
}

#[test]
fn what_the_worker_does_not_give_is_refused_with_the_cure() {
    let context = parent(None, None);
    let error = now(context.enqueue(CHILD.call((1,)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`Children`"), "{error}");
    assert!(context.state::<Reports>().is_none());
    let error = context.progress(0.5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("backend.url"), "{error}");
}
