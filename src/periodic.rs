//! Periodic tasks: entries in the configuration, and what the feature `periodic` adds to an application.

#[cfg(feature = "periodic")]
mod app;

use serde::Deserialize;
use windlass_core::Result;

/// A periodic task: one section `[[periodic]]` (feature `periodic`).
///
/// Connecting ensures that there is such an entry. Taking the section away removes nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PeriodicConfig {
    /// The name of the entry; without it, that of the task.
    pub name: Option<String>,
    /// The wire name of the task.
    pub task: String,
    /// The arguments of the task.
    pub args: Vec<serde_json::Value>,
    /// When it comes: a cron expression.
    pub cron: Option<String>,
    /// The time zone in which the cron expression is read; without it, UTC.
    pub tz: Option<String>,
    /// How often it comes, instead of `cron`: a span of time.
    pub every: Option<String>,
    /// What becomes of missed ticks: `skip`, `once` or `all <max>`.
    pub missed: Option<String>,
    /// Each task waits for a part of this time.
    pub jitter: Option<String>,
    /// The queue of its tasks.
    pub queue: Option<String>,
}

/// Refuses sections that make no sense, before anything is connected.
///
/// # Errors
/// `Config` or `Invalid` with the entry, the key and what is allowed.
pub(crate) fn check(sections: &[PeriodicConfig]) -> Result<()> {
    #[cfg(feature = "periodic")]
    return sections.iter().try_for_each(app::check);
    #[cfg(not(feature = "periodic"))]
    if sections.is_empty() {
        Ok(())
    } else {
        let text = "periodic tasks need the feature \"periodic\", which is not compiled in: \
                    add it to windlass in Cargo.toml, or run cargo with --features periodic";
        Err(windlass_core::Error::new(windlass_core::ErrorKind::Config, "periodic", text))
    }
}
