//! Layers of configuration: file < profile < environment. The only file that knows figment.

use std::path::Path;

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};
use windlass_core::{Error, ErrorKind, Result};

use super::{AdapterConfig, Config, limits};

/// The file that is read in the working directory, if it is there.
const FILE: &str = "windlass.toml";
const PREFIX: &str = "WINDLASS_";
/// Variables with the prefix that are no keys.
const NOT_KEYS: [&str; 2] = ["PROFILE", "CONFIG"];

impl Config {
    /// Loads `windlass.toml` from the working directory, if there is one (or the file that
    /// `WINDLASS_CONFIG` names), over it its section `profile.<name>` where `WINDLASS_PROFILE` names one, and over both the
    /// variables `WINDLASS_<SECTION>__<KEY>`, such as `WINDLASS_BROKER__URL`.
    ///
    /// # Errors
    /// `Config` with the key, the value, where it came from and what is allowed.
    pub fn load() -> Result<Self> {
        let named = std::env::var("WINDLASS_CONFIG").ok();
        let path = Path::new(named.as_deref().unwrap_or(FILE));
        if named.is_some() && !path.is_file() {
            let text = format!("the file {} is not there", path.display());
            return Err(Error::new(ErrorKind::Config, "WINDLASS_CONFIG", text));
        }
        let profile = std::env::var("WINDLASS_PROFILE").ok();
        match path.is_file() {
            true => Self::layered(Toml::file_exact(path), profile.as_deref()),
            false => Self::layered(Toml::string(""), profile.as_deref()),
        }
    }

    /// Loads a text in the format of `windlass.toml`, with the same layers over it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_toml(text: &str, profile: Option<&str>) -> Result<Self> {
        Self::layered(Toml::string(text), profile)
    }

    fn layered(file: impl Provider, profile: Option<&str>) -> Result<Self> {
        let file = Figment::from(file);
        let mut layers = file.clone();
        if let Some(profile) = profile {
            layers = layers.merge(Serialized::from(section(&file, profile)?, Profile::Default));
        }
        let layers = layers.merge(Env::prefixed(PREFIX).ignore(&NOT_KEYS).split("__"));
        let mut values: Dict = layers.extract().map_err(|error| explain(&error))?;
        values.remove("profile");
        let mut config: Self =
            Value::from(values).deserialize().map_err(|error| locate(explain(&error), &error, &layers))?;
        resolve("broker.url", &mut config.broker)?;
        if let Some(backend) = &mut config.backend {
            resolve("backend.url", backend)?;
        }
        if let Some(outbox) = &mut config.outbox {
            resolve("outbox.url", outbox)?;
        }
        config.check(&layers)?;
        Ok(config)
    }

    /// Everything that can be wrong with a value, before anything is connected.
    fn check(&self, layers: &Figment) -> Result<()> {
        let options = self.defaults.options();
        let checks = [
            self.limits.checked_payload().map(drop),
            options.as_ref().map(drop).map_err(Error::duplicate),
            self.worker.settings(&options.unwrap_or_default(), 1).map(drop),
            limits(&self.queues).map(drop),
        ];
        checks.into_iter().collect::<Result<()>>().map_err(|error| {
            let source = source(layers, error.operation());
            Error::new(ErrorKind::Config, "config", error.to_string()).with("from", source)
        })
    }
}

/// The section of one profile.
fn section(file: &Figment, profile: &str) -> Result<Dict> {
    let profiles: Dict = if file.contains("profile") {
        file.extract_inner("profile").map_err(|error| explain(&error))?
    } else {
        Dict::new()
    };
    match profiles.get(profile).and_then(Value::as_dict) {
        Some(section) => Ok(section.clone()),
        None => {
            let known: Vec<&String> = profiles.keys().collect();
            let text = format!("{profile:?} is not a profile of the file; its profiles are {known:?}");
            Err(Error::new(ErrorKind::Config, "WINDLASS_PROFILE", text))
        }
    }
}

fn resolve(key: &'static str, adapter: &mut AdapterConfig) -> Result<()> {
    let Some(name) = adapter.url().strip_prefix("env:").map(str::to_owned) else { return Ok(()) };
    let url = std::env::var(&name)
        .map_err(|_| Error::new(ErrorKind::Config, key, format!("the environment variable {name} is not set")))?;
    adapter.set_url(url);
    Ok(())
}

fn explain(error: &figment::Error) -> Error {
    let key = error.path.join(".");
    let text = match &error.kind {
        Kind::Message(text) if key.is_empty() => {
            match error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()) {
                Some(source) => format!("{source}: {text}"),
                None => text.clone(),
            }
        }
        Kind::UnknownField(field, allowed) => {
            let key = if key.is_empty() { field.clone() } else { key };
            format!("unknown key {key}; allowed are {}", allowed.join(", "))
        }
        kind => format!("{key}: {kind}"),
    };
    Error::new(ErrorKind::Config, "config", text)
}

/// Adds where the value came from.
fn locate(explained: Error, error: &figment::Error, layers: &Figment) -> Error {
    let mut path = error.path.clone();
    if let Kind::UnknownField(field, _) = &error.kind
        && path.last() != Some(field)
    {
        path.push(field.clone());
    }
    explained.with("from", source(layers, &path.join(".")))
}

/// Where the value of a key came from, as a person would name it.
fn source(layers: &Figment, key: &str) -> String {
    // A section that is unknown is named by its first key.
    let Some(metadata) = layers.find_metadata(key) else { return "a default".to_owned() };
    if metadata.name.contains("environment variable") {
        let name = format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"));
        let is_set = |name: &String| std::env::var_os(name).is_some();
        let mut names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let hint = if key.contains('_') { "; two underscores part section and key" } else { "" };
        return match is_set(&name) {
            true => format!("{name}{hint}"),
            false => names.find(|set| set.to_uppercase().starts_with(&name)).unwrap_or(name),
        };
    }
    match metadata.source.as_ref().and_then(|source| source.file_path()) {
        Some(path) => path.display().to_string(),
        None if metadata.name.contains("Dict") || metadata.name.contains("Map") => "the profile".to_owned(),
        None => metadata.name.to_string(),
    }
}
