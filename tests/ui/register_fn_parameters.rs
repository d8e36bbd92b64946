//! A function must take what its definition says.
#![allow(unused_variables)]

use windlass::{Context, TaskDef};

const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");

async fn one(a: i64) -> i64 {
    a
}

async fn other(a: i64, b: String) -> i64 {
    a
}

async fn late(a: i64, b: i64, context: Context) -> i64 {
    a + b
}

fn blocking(a: i64) -> i64 {
    a
}

fn worker(app: windlass::Windlass) {
    let _ = app.worker().register_fn(ADD, one);
    let _ = app.worker().register_fn(ADD, other);
    let _ = app.worker().register_fn(ADD, late);
    let _ = app.worker().register_fn(ADD, blocking);
}

fn main() {}
