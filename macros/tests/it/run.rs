//! Calls and runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass::task;
use windlass_core::task::{State, Work};
use windlass_core::{Call, Context, Shared, Task, TaskError};

use crate::support::{context, now, run, sent};

#[task]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[test]
fn the_function_stays_and_the_call_is_typed() {
    assert_eq!(now(add(2, 3)), 5);
    let call: Call<i64> = add::call(2, 3);
    assert_eq!(sent(call), ("add".to_owned(), "[2,3]".to_owned()));
    assert_eq!(run::<add>(Shared::default(), "[2,3]"), Ok("5".to_owned()));
}

#[test]
fn arguments_that_do_not_fit_are_told() {
    let text = run::<add>(Shared::default(), "[2]").unwrap_err();
    assert!(text.starts_with("arguments: cannot be decoded: invalid length 1"), "{text}");
}

#[task(name = "unit:nothing")]
async fn nothing() {}

#[test]
fn no_arguments_and_no_result() {
    assert_eq!(sent(nothing::call()), ("unit:nothing".to_owned(), "[]".to_owned()));
    assert_eq!(run::<nothing>(Shared::default(), "[]"), Ok("null".to_owned()));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    lines: BTreeMap<String, Vec<f64>>,
}

#[task]
async fn ship(order: Order, express: Option<bool>) -> Result<Order, TaskError> {
    if express.is_none() {
        return Err(TaskError::permanent("how?"));
    }
    Ok(order)
}

#[test]
fn any_serde_type_goes_both_ways() {
    let order = Order { id: 7, lines: BTreeMap::from([("a\n\"b\"".to_owned(), vec![1.5, -0.0])]) };
    let (_, payload) = sent(ship::call(order.clone(), Some(true)));
    let answer = run::<ship>(Shared::default(), &payload).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&answer).unwrap(), order);
    let (_, payload) = sent(ship::call(order, None));
    assert_eq!(run::<ship>(Shared::default(), &payload), Err("how?".to_owned()));
}

#[task]
async fn parse(text: String) -> Result<i64, std::num::ParseIntError> {
    text.parse()
}

#[task]
async fn odd(number: u8) -> std::io::Result<bool> {
    if number == 0 { Err(std::io::Error::other("neither")) } else { Ok(number % 2 == 1) }
}

#[test]
fn any_error_is_taken() {
    assert_eq!(run::<parse>(Shared::default(), "[\"42\"]"), Ok("42".to_owned()));
    assert_eq!(run::<parse>(Shared::default(), "[\"x\"]"), Err("invalid digit found in string".to_owned()));
    assert_eq!(run::<odd>(Shared::default(), "[3]"), Ok("true".to_owned()));
    assert_eq!(run::<odd>(Shared::default(), "[0]"), Err("neither".to_owned()));
    let _: Call<bool> = odd::call(3);
}

#[task]
async fn given(context: Context, names: State<Vec<String>>, _count: State<u8>, index: usize) -> String {
    format!("{}: {}", context.id(), names[index])
}

#[test]
fn the_worker_gives_context_and_state() {
    let mut shared = Shared::default();
    shared.insert(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(sent(given::call(1)).1, "[1]");
    let text = run::<given>(shared.clone(), "[1]").unwrap_err();
    assert_eq!(text, "the worker has no State<u8>: give it with .state(value of type u8)");
    shared.insert(1_u8);
    assert_eq!(run::<given>(shared, "[1]"), Ok("\"the-id: b\"".to_owned()));
}

#[task]
fn square(context: Context, number: u64) -> Result<u64, TaskError> {
    assert_eq!(context.task().as_str(), "square");
    number.checked_mul(number).ok_or_else(|| TaskError::permanent("too large"))
}

#[test]
fn a_function_that_is_not_async_blocks_a_thread_of_its_own() {
    let work = square::work(context::<square>(Shared::default()), (4,));
    let Work::Blocking(work) = work else { panic!("{work:?}") };
    assert_eq!(work().unwrap(), 16);
    let work = add::work(context::<add>(Shared::default()), (1, 2));
    assert!(matches!(work, Work::Async(_)), "{work:?}");
}

#[test]
fn a_function_that_is_not_async_can_be_run_inline_too() {
    assert_eq!(now(square::run(context::<square>(Shared::default()), (4,))).unwrap(), 16);
    assert_eq!(run::<square>(Shared::default(), "[18446744073709551615]"), Err("too large".to_owned()));
}

#[task]
#[allow(clippy::too_many_arguments, reason = "a task may")]
async fn eight(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> Vec<u8> {
    vec![a, b, c, d, e, f, g, h]
}

#[task]
async fn patterns((a, b): (i64, i64), mut c: i64, _: i64, Wrapped { d, .. }: Wrapped) -> i64 {
    c += a + b;
    c + d
}

#[derive(Serialize, Deserialize)]
struct Wrapped {
    d: i64,
    e: String,
}

#[test]
fn arguments_may_be_patterns() {
    let call = patterns::call((1, 2), 3, 4, Wrapped { d: 5, e: String::new() });
    assert_eq!(sent(call).1, "[[1,2],3,4,{\"d\":5,\"e\":\"\"}]");
    assert_eq!(run::<patterns>(Shared::default(), "[[1,2],3,4,{\"d\":5,\"e\":\"\"}]"), Ok("11".to_owned()));
}

#[test]
fn eight_arguments_keep_their_order() {
    assert_eq!(sent(eight::call(1, 2, 3, 4, 5, 6, 7, 8)).1, "[1,2,3,4,5,6,7,8]");
    assert_eq!(run::<eight>(Shared::default(), "[1,2,3,4,5,6,7,8]"), Ok("[1,2,3,4,5,6,7,8]".to_owned()));
}
