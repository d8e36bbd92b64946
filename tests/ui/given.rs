//! A type that is only called `Context`, or `State`, is not given by the worker.
#![allow(unused_variables)]

struct Context;

#[derive(serde::Serialize, serde::Deserialize)]
struct State<T>(T);

#[windlass::task]
async fn one(context: Context, value: u8) {}

#[windlass::task]
async fn two(state: State<u8>) {}

fn main() {}
