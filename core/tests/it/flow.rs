//! Workflows: what is made of calls, how it is written down, and that it goes on whatever is repeated.

use std::time::Duration;

use bytes::Bytes;
use windlass_core::flow::{
    Content, End, Fate, Flow, FlowNode, FlowPart, ID_BYTES, Input, Link, NODES, Plan, Reference, Role, Shape, Stored,
    Summary, Upstream, When, fate, group, join, map, node_id, payload,
};
use windlass_core::message::Schedule;
use windlass_core::{
    Call, ErrorKind, Failure, FailureKind, Message, QueueName, Result, State, TaskDef, TaskId, TaskName, Timestamp,
};

pub(crate) const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");
pub(crate) const DOUBLE: TaskDef<(i64,), i64> = TaskDef::new("double");
pub(crate) const SUM: TaskDef<(Vec<i64>,), i64> = TaskDef::new("sum");
pub(crate) const COUNT: TaskDef<(Vec<Result<i64, Failure>>,), i64> = TaskDef::new("count");
const TOLD: TaskDef<(Failure, String), ()> = TaskDef::new("told");
const PAIR: TaskDef<((i64, String),), i64> = TaskDef::new("pair");
const NAME: TaskDef<(u8,), String> = TaskDef::new("name");

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

/// That of the golden file.
pub(crate) fn message() -> Message {
    let links =
        [("order-7:3", 0, 1, When::Success), ("order-7:4", 0, 1, When::Failure), ("order-7:5", 1, 2, When::End)];
    let part = FlowPart {
        input: Some(Input { places: 2, shape: Shape::List }),
        next: links.map(|(to, place, of, when)| Link { to: id(to), place, of, when }).into(),
        ..FlowPart::new(id("order-7"), Duration::from_secs(604_800))
    };
    let task = TaskName::new("math:sum").unwrap();
    Message {
        flow: Some(Box::new(part)),
        enqueued_at: Timestamp::from_micros(1_763_710_000_123_456),
        remember: Some(Duration::from_secs(86_400)),
        ..Message::new(id("id"), QueueName::default(), task, Bytes::from_static(b"[7]"))
    }
}

pub(crate) fn plan<O, K>(flow: Flow<O, K>) -> Plan {
    flow.plan(|| id("f")).unwrap()
}

fn refused<O, K>(flow: Flow<O, K>) -> (ErrorKind, String) {
    let error = flow.plan(|| id("f")).unwrap_err();
    (error.kind(), error.to_string())
}

/// Each node by its number: its task (or `*`), its shape, and what follows.
fn drawn(plan: &Plan) -> Vec<String> {
    let node = |node: &windlass_core::flow::PlannedNode| {
        let task = node.call.as_ref().map_or("*".to_owned(), |call| format!("{}{}", call.task, text(&call.payload)));
        let input = node.part.input.map_or(String::new(), |input| format!("({input})"));
        let next: Vec<String> = node.part.next.iter().map(ToString::to_string).collect();
        format!("{task}{input} -> {}", next.join(", "))
    };
    plan.nodes.iter().map(node).collect()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_chain_hands_on_and_may_name_the_same_task_twice() {
    let plan = plan(ADD.call((2, 3)).then(ADD.step((7,))).then(DOUBLE.step(())).then(DOUBLE.step(())));
    let drawing = [
        "add[2,3] -> f::1 0/1 success",
        "add[7](1 one) -> f::2 0/1 success",
        "double[](1 one) -> f::3 0/1 success",
        "double[](1 one) -> ",
    ];
    assert_eq!(drawn(&plan), drawing);
    assert_eq!((plan.tasks, plan.end), (4, 3));
}

#[test]
fn what_follows_a_group_takes_all_of_it_without_a_node_in_between() {
    let plan = plan(map([1, 2], |n| ADD.call((n, 1))).then(SUM.step(())));
    let drawing = ["add[1,1] -> f::2 0/2 success", "add[2,1] -> f::2 1/2 success", "sum[](2 list) -> "];
    assert_eq!(drawn(&plan), drawing);
}

#[test]
fn a_group_that_nobody_takes_is_a_node_behind_the_tasks() {
    let nested = plan(group([map([1, 2], |n| NAME.call((n,))), map([3], |n| NAME.call((n,)))]));
    let drawing = [
        "name[1] -> f::3 0/2 success",
        "name[2] -> f::3 1/2 success",
        "name[3] -> f::4 0/1 success",
        "*(2 list) -> f::5 0/2 success",
        "*(1 list) -> f::5 1/2 success",
        "*(2 list) -> ",
    ];
    assert_eq!(drawn(&nested), drawing);
    assert_eq!((nested.tasks, nested.end), (3, 5));
    let single = plan(DOUBLE.call((1,)).settled());
    assert_eq!(drawn(&single), ["double[1] -> f::1 0/1 end", "*(1 one) -> "]);
}

#[test]
fn a_clone_stands_for_the_same_task() {
    let first = ADD.call((1, 2)).then(DOUBLE.step(()));
    let both = join((first.clone(), first.then(DOUBLE.step(())).then(DOUBLE.step(())))).then(SUM_OF_TWO.step(()));
    let drawing = [
        "add[1,2] -> f::1 0/1 success",
        "double[](1 one) -> f::2 0/1 success, f::4 0/2 success",
        "double[](1 one) -> f::3 0/1 success",
        "double[](1 one) -> f::4 1/2 success",
        "two[](2 tuple) -> ",
    ];
    assert_eq!(drawn(&plan(both)), drawing);
}

pub(crate) const SUM_OF_TWO: TaskDef<((i64, i64),), i64> = TaskDef::new("two");

#[test]
fn errors_are_handed_on_where_that_is_wished() {
    let settled = plan(map([1, 2], |n| ADD.call((n, 1))).settled().then(COUNT.step(())));
    let drawing = ["add[1,1] -> f::2 0/2 end", "add[2,1] -> f::2 1/2 end", "count[](2 list) -> "];
    assert_eq!(drawn(&settled), drawing);
    let one_by_one = plan(group([ADD.call((1, 1)).settled(), ADD.call((2, 1)).settled()]).then(COUNT.step(())));
    assert_eq!(drawn(&one_by_one), drawing);
}

#[test]
fn callbacks_follow_and_nobody_waits_for_them() {
    let told = || TOLD.step(("x".to_owned(),));
    let flow = ADD.call((1, 1)).on_failure(told()).on_success(DOUBLE.step(())).then(DOUBLE.step(()));
    let plan = plan(flow);
    let drawing = [
        "add[1,1] -> f::1 0/1 failure, f::2 0/1 success, f::3 0/1 success",
        "told[\"x\"](1 one) -> ",
        "double[](1 one) -> ",
        "double[](1 one) -> ",
    ];
    assert_eq!(drawn(&plan), drawing);
    assert_eq!(plan.end, 3);
}

#[test]
fn each_member_of_a_group_can_go_on() {
    let plan = plan(map([1, 2], |n| ADD.call((n, 1))).map(|| DOUBLE.step(())).then(SUM.step(())));
    let drawing = [
        "add[1,1] -> f::1 0/1 success",
        "double[](1 one) -> f::4 0/2 success",
        "add[2,1] -> f::3 0/1 success",
        "double[](1 one) -> f::4 1/2 success",
        "sum[](2 list) -> ",
    ];
    assert_eq!(drawn(&plan), drawing);
}

#[test]
fn types_are_those_of_the_tasks() {
    let _: Flow<i64> = join((ADD.call((1, 2)), NAME.call((1,)))).then(PAIR.step(()));
    let _: Flow<Vec<Result<i64, Failure>>> = windlass_core::IntoFlow::into_flow(group([ADD.call((1, 2))]).settled());
}

#[test]
fn what_is_asked_for_the_whole_holds_for_its_tasks() {
    let at = Timestamp::from_micros(5);
    let flow = ADD.call((1, 1)).header("a", "own").queue("math").then(DOUBLE.step(()).max_retries(3));
    let plan = plan(flow.header("a", "all").header("b", "all").deadline(at).id("order-7"));
    let options: Vec<_> = plan.nodes.iter().map(|node| &node.call.as_ref().unwrap().options).collect();
    assert_eq!(options[0].headers, [("a".into(), "own".into()), ("b".into(), "all".into())].into());
    assert_eq!(options[1].headers["a"], "all");
    assert_eq!((options[0].deadline, options[1].deadline), (Some(at), Some(at)));
    assert_eq!(
        (options[0].queue.is_some(), options[1].queue.is_some(), options[1].max_retries),
        (true, false, Some(3))
    );
    assert_eq!(plan.nodes[1].id, id("order-7::1"));
}

#[test]
fn what_is_wrong_is_told_before_anything_is_sent() {
    let none: [Call<i64>; 0] = [];
    let table = [
        (refused(group(none)), "group: nothing is not allowed: at least one call"),
        (refused(ADD.call((1, 1)).id("x").then(DOUBLE.step(()))), "Flow::id"),
        (refused(ADD.call((1, 1)).then(DOUBLE.step(())).id("x".repeat(ID_BYTES + 1))), "at most 121"),
        (refused(ADD.call((1, 1)).then(DOUBLE.step(())).id("a b")), "flow id"),
        (refused(ADD.call((1, 1)).then(DOUBLE.step(()).queue("a b"))), "queue"),
        (refused(ADD.call((1, 1)).then(DOUBLE.step(())).keep("1h")), "keep: 3600s is not allowed: 1 to 366 days"),
        (refused(map(0..=NODES, |n| DOUBLE.call((n as i64,)))), "at most 100000"),
        (
            refused(group([DOUBLE.call((1,)).then(DOUBLE.step(())).id("a"), DOUBLE.call((2,)).then(DOUBLE.step(()))])),
            "one id",
        ),
    ];
    for ((kind, text), expected) in table {
        assert!(kind == ErrorKind::Invalid && text.contains(expected), "{kind:?}: {text}");
    }
    let longest = plan(map(0..3, |n| DOUBLE.call((n,))).id("x".repeat(ID_BYTES)));
    assert_eq!(longest.id.to_string().len(), ID_BYTES);
    assert!(node_id(&longest.id, NODES - 1).is_ok());
}

#[test]
fn a_very_long_chain_uses_up_no_stack() {
    let mut flow = DOUBLE.call((1,)).then(DOUBLE.step(()));
    for _ in 2..50_000 {
        flow = flow.then(DOUBLE.step(()));
    }
    drop(flow.clone());
    assert_eq!(plan(flow).tasks, 50_000);
}

#[test]
fn everything_is_kept_for_the_longest_way_of_delays() {
    let slow = DOUBLE.call((1,)).then(DOUBLE.step(())).then(DOUBLE.step(()));
    let mut plan = plan(join((slow, DOUBLE.call((2,)))).keep("2d"));
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    plan.wait_for(&[hours(1), hours(2), hours(3), hours(5)]);
    assert_eq!(plan.keep, hours(48 + 6));
    assert!(plan.nodes.iter().all(|node| node.part.keep == hours(54)));
}

#[test]
fn nodes_and_summaries_are_read_and_written_byte_by_byte() {
    let queue = QueueName::new("math").unwrap();
    let schedule = Schedule::After(Duration::from_millis(1500));
    let task = FlowNode { role: Role::Task, message: Message { queue, schedule, ..message() } };
    let gather = FlowPart {
        input: Some(Input { places: 3, shape: Shape::Tuple }),
        ..FlowPart::new(id("order-7"), Duration::from_secs(604_800))
    };
    let golden: [(&[u8], FlowNode); 2] = [
        (include_bytes!("golden/node-v1-task.bin"), task),
        (include_bytes!("golden/node-v1-gather.bin"), FlowNode::gather(id("id"), gather).unwrap()),
    ];
    for (bytes, node) in golden {
        assert_eq!(text(&node.encode()), text(bytes));
        assert_eq!(FlowNode::decode(id("id"), &Bytes::from_static(bytes)).unwrap(), node);
    }
    for schedule in [Schedule::Now, Schedule::At(Timestamp::from_micros(-5))] {
        let node = FlowNode { role: Role::Task, message: Message { schedule, ..message() } };
        assert_eq!(FlowNode::decode(id("id"), &node.encode()).unwrap(), node);
    }
    let root = FlowNode::root(&message());
    assert_eq!((root.role, root.message.payload.len(), root.part()), (Role::Root, 0, message().flow.as_deref()));
    for bytes in [
        "",
        "1 task math\n",
        "1 task math soon\n",
        "1 tusk math now\n",
        "2 task math now\nwindlass/1 a\n\n",
        "1 task math now\nx",
    ] {
        assert!(FlowNode::decode(id("id"), &bytes.into()).is_err(), "{bytes:?}");
    }
    let summary = Summary {
        tasks: 2,
        nodes: 3,
        end: 2,
        group: Some(Input { places: 2, shape: Shape::List }),
        keep: 5,
        started: true,
        refused: false,
    };
    let written = r#"{"tasks":2,"nodes":3,"end":2,"group":{"places":2,"shape":"list"},"keep":5,"started":true}"#;
    assert_eq!(text(&summary.encode().unwrap()), written);
    assert_eq!(Summary::decode(written.as_bytes()).unwrap(), summary);
}

#[test]
fn the_arguments_are_the_input_and_then_the_rest() {
    for (input, rest, expected) in
        [("1", "[]", "[1]"), ("[1,2]", "[3, \"x\"]", "[[1,2],3, \"x\"]"), ("null", " [ ] ", "[null]")]
    {
        assert_eq!(text(&payload(input.as_bytes(), rest.as_bytes()).unwrap()), expected);
    }
    for rest in ["", "7", "{}", "[", "]"] {
        assert_eq!(payload(b"1", rest.as_bytes()).unwrap_err().kind(), ErrorKind::Codec, "{rest:?}");
    }
}

#[test]
fn what_the_end_of_one_means_for_the_next() {
    let failure = Failure::new(FailureKind::Error, "boom", 2);
    let json = r#"{"kind":"error","message":"boom","attempt":2}"#;
    let set = Content::Set(Reference { id: id("f:9"), input: Input { places: 3, shape: Shape::List } });
    let ends = [End::Succeeded(Content::Json("5".into())), End::Succeeded(set), End::Failed(failure.clone())];
    let table = [
        (When::Success, ["=5", "@f:9 3 list", "fails"].map(String::from)),
        (When::Failure, ["not needed", "not needed", &format!("={json}")].map(String::from)),
        (When::End, [r#"={"Ok":5}"#, "+f:9 3 list", &format!(r#"={{"Err":{json}}}"#)].map(String::from)),
    ];
    for (when, expected) in table {
        for (end, expected) in ends.iter().zip(expected) {
            let told = match fate(when, end) {
                Fate::Given(stored) => {
                    let bytes = stored.encode();
                    assert_eq!(Stored::decode(&bytes).unwrap(), stored);
                    text(&bytes).to_owned()
                }
                Fate::Fails => "fails".to_owned(),
                Fate::NotNeeded => "not needed".to_owned(),
            };
            assert_eq!(told, expected, "{when:?} {end:?}");
        }
    }
    for bytes in ["", "5", "@f:9", "@f:9 x list", "+a b 1 one"] {
        assert!(Stored::decode(&bytes.into()).is_err(), "{bytes:?}");
    }
    let upstream = Upstream::of(id("f::0"), TaskName::new("add").unwrap(), State::Failed, Some(failure));
    let text = "it needs the result of add (f::0): boom (attempt 2)";
    assert_eq!(
        (upstream.downstream().kind, upstream.downstream().to_string()),
        (FailureKind::Upstream, text.to_owned())
    );
}
