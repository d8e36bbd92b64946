use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use windlass_core::{Error, ErrorKind, Result};

/// One store: its URL, and settings that only its adapter knows.
///
/// A URL of the form `env:NAME` is taken from that environment variable when the configuration is
/// loaded.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct AdapterConfig(Map<String, Value>);

impl AdapterConfig {
    /// A store by its URL alone.
    pub fn new(url: impl Into<String>) -> Self {
        let mut config = Self::default();
        config.set_url(url.into());
        config
    }

    /// The URL; empty if none is set. It may hold a password.
    pub fn url(&self) -> &str {
        self.0.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets the URL.
    pub fn set_url(&mut self, url: String) {
        self.0.insert("url".to_owned(), url.into());
    }

    /// The same store for results: its URL, and what both adapters of a store have in common.
    pub(crate) fn for_results(&self) -> Self {
        const COMMON: [&str; 4] = ["url", "prefix", "operation_timeout", "connect_timeout"];
        let common = self.0.iter().filter(|(key, _)| COMMON.contains(&key.as_str()));
        Self(common.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Takes the prefix of `other` where none is set, so that one name parts applications in both.
    pub(crate) fn with_prefix_of(mut self, other: &Self) -> Self {
        if let (None, Some(prefix)) = (self.0.get("prefix"), other.0.get("prefix")) {
            self.0.insert("prefix".to_owned(), prefix.clone());
        }
        self
    }

    /// The adapter's own configuration; `section` names it in the error.
    #[allow(dead_code, reason = "used by adapters that may not be compiled in")]
    pub(crate) fn settings<T: DeserializeOwned>(&self, section: &'static str) -> Result<T> {
        serde_json::from_value(Value::Object(self.0.clone())).map_err(|error| {
            let text =
                error.to_string().replace("unknown field", "unknown key").replace("expected one of", "allowed are");
            Error::new(ErrorKind::Config, section, text)
        })
    }
}

impl fmt::Debug for AdapterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url().split("://").next().unwrap_or_default();
        let keys: Vec<&String> = self.0.keys().filter(|key| *key != "url").collect();
        write!(f, "AdapterConfig({scheme}://***, {keys:?})")
    }
}
