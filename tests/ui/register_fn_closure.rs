//! The parameters of a closure that is not async need their types.

use windlass::TaskDef;

const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");

fn worker(app: windlass::Windlass) {
    let _ = app.worker().register_fn(ADD, |a, b| a + b);
}

fn main() {}
