//! What a worker says about itself at its start.

use windlass_core::QueueName;

use super::engine::Engine;
use super::settings::WorkerSettings;

/// Logs what is served and where, and what could be lost with the stores as they are configured.
pub(super) fn announce(engine: &Engine, settings: &WorkerSettings, queues: &[(QueueName, usize)]) {
    let mut tasks: Vec<&str> = engine.routes.keys().map(|name| name.as_str()).collect();
    tasks.sort_unstable();
    let served = queues.iter().map(|(queue, concurrency)| match settings.weights.get(queue.as_str()) {
        Some(weight) => format!("{queue}={concurrency} (weight {weight})"),
        None => format!("{queue}={concurrency}"),
    });
    let queues = served.collect::<Vec<_>>().join(", ");
    let WorkerSettings { order, total, priorities, addresses, .. } = settings;
    let broker = engine.broker.capabilities().name;
    let backend = engine.backend.as_ref().map_or("none", |backend| backend.capabilities().name);
    tracing::info!(
        target: "windlass::worker",
        %queues,
        %order,
        total,
        %priorities,
        tasks = tasks.join(", "),
        broker,
        broker_address = addresses.broker,
        backend,
        backend_address = addresses.backend,
        "worker started"
    );
    for risk in engine.broker.risks() {
        tracing::warn!(target: "windlass::worker", broker, %risk, "tasks could be lost");
    }
    warn_of_long_tasks(engine);
}

/// A store that takes back what is held too long makes long tasks run twice.
fn warn_of_long_tasks(engine: &Engine) {
    let capabilities = engine.broker.capabilities();
    let Some(limit) = capabilities.max_claim else { return };
    let safe = limit - limit / 6;
    for (task, route) in &engine.routes {
        if let Some(timeout) = route.policy.timeout.filter(|timeout| *timeout > safe) {
            let broker = capabilities.name;
            tracing::warn!(target: "windlass::worker", %task, ?timeout, ?limit, broker, "it may be redelivered while it runs: the broker takes back what is held longer than its limit");
        }
    }
}
