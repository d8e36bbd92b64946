//! Periodic tasks: an interval and a cron expression, changed while two schedulers run.
//!
//! `cargo run --features periodic --example periodic`, or with `-- --broker … --backend …` over other stores.

mod stores;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use windlass::{Context, Periodic, State};

/// Which ticks have come.
#[derive(Clone, Default)]
struct Seen {
    ticks: Arc<Mutex<HashSet<String>>>,
    news: Arc<Notify>,
}

/// A task of a tick is a task as any other; its headers say which tick it is for.
#[windlass::task(name = "examples:collect")]
async fn collect(context: Context, seen: State<Seen>, what: String) {
    let tick = context.headers().get("periodic.tick").map_or("now", String::as_str);
    println!("collect {what} of {tick}");
    assert!(seen.ticks.lock().expect("nobody panics").insert(format!("{what} {tick}")), "a tick comes once");
    seen.news.notify_one();
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let seen = Seen::default();
    // Every worker runs a scheduler too: no process of its own, none that could be missing.
    let worker = || app.worker().state(seen.clone()).register::<collect>().start();
    let workers = [worker().await?, worker().await?];

    let periodic = app.periodic();
    periodic.ensure(Periodic::every("1s").named("metrics"), collect::call("metrics".into())).await?;
    let nightly = || Periodic::cron("30 2 * * *").tz("Europe/Berlin").named("nightly");
    println!("ensured: {:?}", periodic.ensure(nightly(), collect::call("everything".into())).await?);
    println!("again: {:?}", periodic.ensure(nightly(), collect::call("everything".into())).await?);

    while seen.ticks.lock().expect("nobody panics").len() < 3 {
        seen.news.notified().await;
    }
    periodic.pause("metrics").await?;
    periodic.run_now::<()>("nightly").await?.result().await?;
    for entry in periodic.list(None).await?.entries {
        println!("{}: {}, paused: {}", entry.name, entry.cadence, entry.paused);
        periodic.remove(&entry.name).await?;
    }
    for worker in workers {
        println!("worker: {}", worker.shutdown().await);
    }
    println!("each tick came once");
    app.close().await;
    Ok(())
}
