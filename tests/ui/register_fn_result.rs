//! A function must answer what its definition says.
#![allow(unused_variables)]

use windlass::TaskDef;

const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");

struct NotAnError;

async fn text(a: i64, b: i64) -> String {
    String::new()
}

async fn error(a: i64, b: i64) -> Result<i64, NotAnError> {
    Ok(a + b)
}

fn blocking(a: i64, b: i64) -> u8 {
    0
}

fn worker(app: windlass::Windlass) {
    let _ = app.worker().register_fn(ADD, text);
    let _ = app.worker().register_fn(ADD, error);
    let _ = app.worker().register_fn(ADD, blocking);
}

fn main() {}
