//! Arguments are a tuple, also if there is one.

use windlass::TaskDef;

const NUMBER: TaskDef<i64, i64> = TaskDef::new("number");

fn main() {
    let _ = NUMBER.call(1);
}
