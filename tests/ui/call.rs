//! Arguments and results are checked where a task is called.

use windlass::TaskDef;

#[windlass::task]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");

async fn calls(app: windlass::Windlass) -> Result<(), Box<dyn std::error::Error>> {
    app.enqueue(add::call("2", 3)).await?;
    app.enqueue(add::call(2)).await?;
    app.enqueue(ADD.call((2, "3"))).await?;
    let sum: String = app.enqueue(add::call(2, 3)).await?.result().await?;
    Ok(())
}

fn main() {}
