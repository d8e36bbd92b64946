//! What a worker sends that has nothing to do.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Result;
use crate::options::Options;
use crate::relay::Relay;
use crate::sample::Sample;
use crate::server::Store;
use crate::server::redis::{Meter, Work};
use crate::target::Target;

/// Longer than the start of a worker takes.
const SETTLES: Duration = Duration::from_secs(1);
/// Longer than what a worker does regularly.
const WATCHED: Duration = Duration::from_secs(10);

/// Watches the servers for a while; those that do not count, through relays.
pub(super) async fn ours(options: &Options) -> Result<Vec<Sample>> {
    let mut watched = options.clone();
    let rabbitmq = watch(&mut watched, Store::RabbitMq).await?;
    let postgres = watch(&mut watched, Store::Postgres).await?;
    let target = Target::connect(&watched, true).await?;
    let worker = target.start().await?;
    sleep(SETTLES).await;
    let start = Instant::now();
    let meter = Meter::start(&options.urls_of(Store::Redis)).await?;
    let sent = |relay: &Option<Relay>| relay.as_ref().map_or(0, Relay::sent);
    let before = (sent(&rabbitmq), sent(&postgres));
    sleep(WATCHED).await;
    let seconds = start.elapsed().as_secs_f64();
    let after = (sent(&rabbitmq), sent(&postgres));
    let work = meter.stop().await?;
    worker.stop().await;
    target.close().await;
    let mut samples = work.map_or_else(Vec::new, |work| redis(&work, seconds));
    let packets = |name, count: u64| Sample::new(name, "packets/s", count as f64 / seconds);
    samples.extend(rabbitmq.map(|_| packets("idle worker sends to RabbitMQ", after.0 - before.0)));
    samples.extend(postgres.map(|_| packets("idle worker sends to Postgres", after.1 - before.1)));
    Ok(samples)
}

fn redis(work: &Work, seconds: f64) -> Vec<Sample> {
    vec![
        Sample::new("idle worker sends", "commands/s", work.requests / seconds),
        Sample::new("  with those in scripts", "commands/s", work.commands / seconds),
        Sample::new("  Redis CPU", "ms/s", work.cpu * 1e3 / seconds),
    ]
}

/// Puts a relay before the server of this kind, if there is one.
async fn watch(options: &mut Options, store: Store) -> Result<Option<Relay>> {
    let Some(url) = options.urls_of(store).first().map(|url| (*url).to_owned()) else {
        return Ok(None);
    };
    let relay = Relay::start(&url).await?;
    options.replace_url(&url, relay.url());
    Ok(Some(relay))
}
