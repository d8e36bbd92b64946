//! Dead letters: what failed for good is listed, mended, run again, or discarded.
//!
//! `cargo run --example dead_letters`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::time::Duration;

use windlass::DeadLetter;

const QUEUE: &str = "examples-dead-letters";

#[windlass::task(queue = "examples-dead-letters", max_retries = 0)]
async fn ship(address: String) -> Result<String, String> {
    match address.as_str() {
        "" => Err("the address is empty".into()),
        "the moon" => Err("nothing goes there".into()),
        _ => Ok(format!("shipped to {address}")),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let worker = app.worker().register::<ship>().queue(QUEUE, 1).start().await?;
    for address in ["the moon", "", ""] {
        let failed = app.enqueue(ship::call(address.into())).await?.result().await.is_err();
        println!("{address:?} failed: {failed}");
    }

    // A letter says why it died, how often it was tried, and what was enqueued.
    let dead = app.dead(QUEUE)?;
    let mut letters = dead.list(None, 10).await?.letters;
    while letters.len() < 3 {
        // The result is told first, the letter is put away after that.
        tokio::time::sleep(Duration::from_millis(50)).await;
        letters = dead.list(None, 10).await?.letters;
    }
    for DeadLetter { reason, progress, content, .. } in &letters {
        println!("{reason}; {} failures; {:?}", progress.failures, content.as_ref().map(|message| &message.payload));
    }

    // One is mended by hand, ...
    let without_address = |letter: &&DeadLetter| letter.reason.contains("empty");
    let first = letters.iter().find(without_address).ok_or("one has no address")?;
    let one = dead.replay_edited(first, ship::call("Berlin".into())).await?;

    // ... the others as they come, at most 20 a second; with `.replay()` they would run as they were.
    let others = dead.select().task("ship").reason("is empty").younger_than("1h").rate(20.0);
    let more = others.replay_edited(|_| Some(ship::call("Hamburg".into()))).run().await?;
    for letter in letters.iter().filter(without_address) {
        let handle = app.handle_of::<String>(letter.id.clone(), QUEUE.parse()?);
        while !matches!(handle.status().await?, Some(status) if status.state == windlass::TaskState::Succeeded) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{}", handle.result().await?);
    }

    let discarded = dead.select().discard().run().await?;
    let left = dead.select().count().run().await?;
    println!("{} put back, {discarded} discarded, {left} left; worker: {}", one + more, worker.shutdown().await);
    app.close().await;
    Ok(())
}
