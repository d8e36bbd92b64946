use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer};
use windlass_core::broker::Overflow;
use windlass_core::{Error, QueueLimit, QueueName, Result};

/// What holds for one queue, for those who send: a section `queues.<name>`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QueueConfig {
    /// How many tasks may wait in it; at least 1. Without it there is no limit.
    pub max_length: Option<u64>,
    /// What becomes of a task that finds it full: `reject` or `drop-oldest`.
    #[serde(deserialize_with = "optional")]
    pub overflow: Option<Overflow>,
}

/// A value that is written as its name.
pub(super) fn named<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err = Error>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
}

fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Overflow>, D::Error> {
    named(deserializer).map(Some)
}

/// The limits that the sections `queues.<name>` set.
///
/// # Errors
/// `Invalid` with the key, the value and what is allowed.
pub(crate) fn limits(queues: &BTreeMap<String, QueueConfig>) -> Result<HashMap<QueueName, QueueLimit>> {
    let mut limits = HashMap::new();
    for (name, config) in queues {
        let queue = QueueName::new(name).map_err(|error| Error::new(error.kind(), "queues", error.message()))?;
        if let Some(limit) = limit(config).map_err(|error| error.with("queue", name))? {
            limits.insert(queue, limit);
        }
    }
    Ok(limits)
}

fn limit(config: &QueueConfig) -> Result<Option<QueueLimit>> {
    match (config.max_length, config.overflow) {
        (Some(0), _) => Err(Error::invalid("queues.max_length", 0, "at least 1")),
        (Some(max), overflow) => Ok(Some(QueueLimit { max, overflow: overflow.unwrap_or_default() })),
        (None, Some(overflow)) => {
            Err(Error::invalid("queues.overflow", overflow, "only together with queues.<name>.max_length"))
        }
        (None, None) => Ok(None),
    }
}
