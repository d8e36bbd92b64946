//! From a URL scheme to an adapter. A scheme whose feature is off is refused with the feature's name.

use std::sync::Arc;

use windlass_core::{Backend, Broker, Error, ErrorKind, Result};
use windlass_runtime::Addresses;

use crate::config::{AdapterConfig, Config};

/// A broker and, where results are kept, a backend.
pub(crate) type Stores = (Arc<dyn Broker>, Option<Arc<dyn Backend>>);

/// Which adapter a scheme belongs to.
const SCHEMES: [(&str, Adapter); 5] = [
    ("memory", Adapter::Memory),
    ("redis", Adapter::Redis),
    ("amqp", Adapter::Amqp),
    ("postgres", Adapter::Postgres),
    ("postgresql", Adapter::Postgres),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adapter {
    Memory,
    Redis,
    Amqp,
    Postgres,
}

impl Adapter {
    /// The feature that compiles it in.
    const fn feature(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Amqp => "amqp",
            Self::Postgres => "postgres",
        }
    }

    const fn is_broker(self) -> bool {
        !matches!(self, Self::Postgres)
    }

    const fn is_backend(self) -> bool {
        !matches!(self, Self::Amqp)
    }
}

/// What a URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Broker,
    Backend,
}

impl Role {
    const fn key(self) -> &'static str {
        match self {
            Self::Broker => "broker.url",
            Self::Backend => "backend.url",
        }
    }

    const fn takes(self, adapter: Adapter) -> bool {
        match self {
            Self::Broker => adapter.is_broker(),
            Self::Backend => adapter.is_backend(),
        }
    }

    /// The schemes that can be used for it.
    fn schemes(self) -> String {
        let fit = SCHEMES.into_iter().filter(|(_, adapter)| self.takes(*adapter));
        fit.map(|(scheme, _)| format!("{scheme}://")).collect::<Vec<_>>().join(", ")
    }
}

/// The stores that the configuration names; without a backend, that of the broker keeps results,
/// if it can.
pub(crate) async fn stores(config: &Config) -> Result<Stores> {
    let broker = &config.broker;
    let adapter = adapter(Role::Broker, broker)?;
    let backend = match &config.backend {
        None => adapter.is_backend().then(|| broker.for_results()),
        Some(backend) if backend.url() == "none" => None,
        Some(backend) if self::adapter(Role::Backend, backend)? == adapter => {
            Some(backend.clone().with_prefix_of(broker))
        }
        Some(backend) => Some(backend.clone()),
    };
    let backend_adapter = backend.as_ref().map(|backend| self::adapter(Role::Backend, backend)).transpose()?;
    let broker = connect_broker(adapter, broker).await?;
    let backend = match (backend, backend_adapter) {
        (Some(backend), Some(adapter)) => Some(connect_backend(adapter, &backend).await?),
        _ => None,
    };
    Ok((broker, backend))
}

/// Where the stores are, for people: without user, password and parameters.
pub(crate) fn addresses(config: &Config) -> Addresses {
    let broker = config.broker.url();
    let backend = match &config.backend {
        Some(backend) => backend.url(),
        None if adapter(Role::Broker, &config.broker).is_ok_and(Adapter::is_backend) => broker,
        None => "none",
    };
    Addresses { broker: address(broker), backend: address(backend) }
}

fn address(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let place = match rest.rsplit_once('@') {
        // It cannot be told what belongs to a password here.
        Some((before, _)) if before.contains(['?', '#']) => "***",
        Some((_, place)) => place,
        None => rest,
    };
    let place = place.split(['?', '#']).next().unwrap_or_default();
    Some(format!("{scheme}://{place}"))
}

fn adapter(role: Role, config: &AdapterConfig) -> Result<Adapter> {
    let key = role.key();
    let url = config.url();
    let Some((scheme, _)) = url.split_once("://") else {
        let text = match url {
            "" => format!(
                "no URL is set: set {key} in windlass.toml or the variable WINDLASS_{}; known are {}",
                key.to_uppercase().replace('.', "__"),
                role.schemes()
            ),
            _ => format!("the value has no scheme; known are {}, such as redis://localhost:6379", role.schemes()),
        };
        return Err(Error::new(ErrorKind::Config, key, text));
    };
    let tls = if ["rediss", "amqps"].contains(&scheme) { " (TLS is not supported yet)" } else { "" };
    match SCHEMES.into_iter().find(|(name, _)| *name == scheme) {
        Some((_, adapter)) if role.takes(adapter) => Ok(adapter),
        Some((_, adapter)) => {
            let does = if adapter.is_backend() {
                "keeps results, and takes no tasks"
            } else {
                "takes tasks, and keeps no results"
            };
            let text = format!("{scheme}:// {does}; use one of {}", role.schemes());
            Err(Error::new(ErrorKind::Config, key, text))
        }
        None => {
            let text = format!("unknown scheme {scheme:?}{tls}; known are {}", role.schemes());
            Err(Error::new(ErrorKind::Config, key, text))
        }
    }
}

fn not_compiled_in(key: &'static str, what: &str, adapter: Adapter) -> Error {
    let feature = adapter.feature();
    let text = format!(
        "{what} needs the feature {feature:?}, which is not compiled in: \
         add it to windlass in Cargo.toml, or run cargo with --features {feature}"
    );
    Error::new(ErrorKind::Config, key, text)
}

/// Refuses an outbox where there is no code for one.
#[cfg(not(feature = "postgres"))]
pub(crate) fn no_outbox(config: &Config) -> Result<()> {
    match config.outbox {
        Some(_) => Err(not_compiled_in("outbox", "an outbox", Adapter::Postgres)),
        None => Ok(()),
    }
}

/// Memory has no settings.
#[cfg(feature = "memory")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    #[serde(rename = "url")]
    _url: String,
}

#[allow(unused_variables, clippy::unused_async, reason = "depends on the features")]
async fn connect_broker(adapter: Adapter, config: &AdapterConfig) -> Result<Arc<dyn Broker>> {
    match adapter {
        #[cfg(feature = "memory")]
        Adapter::Memory => {
            config.settings::<Memory>("broker")?;
            Ok(Arc::new(windlass_testing::MemoryBroker::new()))
        }
        #[cfg(feature = "redis")]
        Adapter::Redis => {
            let config = config.settings("broker")?;
            Ok(Arc::new(windlass_broker_redis::RedisBroker::connect(config).await?))
        }
        #[cfg(feature = "amqp")]
        Adapter::Amqp => {
            let config = config.settings("broker")?;
            Ok(Arc::new(windlass_broker_amqp::AmqpBroker::connect(config).await?))
        }
        #[allow(unreachable_patterns, reason = "depends on the features")]
        other => Err(not_compiled_in("broker.url", &format!("{}://", other.feature()), other)),
    }
}

#[allow(unused_variables, clippy::unused_async, reason = "depends on the features")]
async fn connect_backend(adapter: Adapter, config: &AdapterConfig) -> Result<Arc<dyn Backend>> {
    match adapter {
        #[cfg(feature = "memory")]
        Adapter::Memory => {
            config.settings::<Memory>("backend")?;
            Ok(Arc::new(windlass_testing::MemoryBackend::new()))
        }
        #[cfg(feature = "redis")]
        Adapter::Redis => {
            let config = config.settings("backend")?;
            Ok(Arc::new(windlass_backend_redis::RedisBackend::connect(config).await?))
        }
        #[cfg(feature = "postgres")]
        Adapter::Postgres => {
            let config = config.settings("backend")?;
            Ok(Arc::new(windlass_backend_postgres::PostgresBackend::connect(config).await?))
        }
        #[allow(unreachable_patterns, reason = "depends on the features")]
        other => Err(not_compiled_in("backend.url", &format!("{}://", other.feature()), other)),
    }
}

#[cfg(all(test, not(feature = "redis")))]
mod tests {
    use windlass_core::ErrorKind;

    #[tokio::test]
    async fn a_scheme_whose_feature_is_off_names_the_feature() {
        let error = crate::Windlass::connect("redis://localhost").await.expect_err("it is not compiled in");
        assert_eq!(error.kind(), ErrorKind::Config);
        for part in ["broker.url", "the feature \"redis\"", "not compiled in", "--features redis"] {
            assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
        }
    }
}

#[cfg(test)]
mod address {
    use super::address;

    #[test]
    fn an_address_holds_no_secret() {
        for (url, shown) in [
            ("redis://me:secret@host:6379/1?ssl=no", Some("redis://host:6379/1")),
            ("postgres://me:se@cret@host/db", Some("postgres://host/db")),
            ("amqp://me:se?cret@host/%2f", Some("amqp://***")),
            ("postgres://host/db?password=se@cret", Some("postgres://***")),
            ("redis://host", Some("redis://host")),
            ("memory://", Some("memory://")),
            ("none", None),
        ] {
            assert_eq!(address(url).as_deref(), shown, "{url}");
        }
    }
}
