//! What follows takes what came before, and the compiler says where it does not.

use windlass::{group, join};

#[windlass::task]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[windlass::task]
async fn shout(text: String) -> String {
    text.to_uppercase()
}

#[windlass::task]
async fn nothing() {}

async fn flows(app: windlass::Windlass) -> Result<(), Box<dyn std::error::Error>> {
    app.enqueue_flow(add::call(2, 3).then(shout::step())).await?;
    app.enqueue_flow(group([add::call(2, 3)]).then(add::step(1))).await?;
    app.enqueue_flow(join((add::call(2, 3), 7))).await?;
    app.enqueue_flow(add::step(1)).await?;
    app.enqueue(add::step(1)).await?;
    app.enqueue_flow(add::call(2, 3).then(nothing::step())).await?;
    Ok(())
}

fn main() {}
