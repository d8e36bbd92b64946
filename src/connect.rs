//! From a URL scheme to an adapter. A scheme whose feature is off is refused with the feature's name.

use std::sync::Arc;

use windlass_core::{Backend, Broker, Error, ErrorKind, Result};

use crate::config::{AdapterConfig, Config};

/// A broker and, where results are kept, a backend.
pub(crate) type Stores = (Arc<dyn Broker>, Option<Arc<dyn Backend>>);

/// Which adapter a scheme belongs to, and the feature that compiles it in.
const SCHEMES: [(&str, Adapter, &str); 2] = [("memory", Adapter::Memory, "memory"), ("redis", Adapter::Redis, "redis")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adapter {
    Memory,
    Redis,
}

/// The stores that the configuration names; without a backend, that of the broker keeps results.
pub(crate) async fn stores(config: &Config) -> Result<Stores> {
    let broker = &config.broker;
    let adapter = adapter("broker.url", broker)?;
    let backend = match &config.backend {
        None => Some(broker.for_results()),
        Some(backend) if backend.url() == "none" => None,
        Some(backend) if self::adapter("backend.url", backend)? == adapter => {
            Some(backend.clone().with_prefix_of(broker))
        }
        Some(backend) => Some(backend.clone()),
    };
    let backend_adapter = backend.as_ref().map(|backend| self::adapter("backend.url", backend)).transpose()?;
    let broker = connect_broker(adapter, broker).await?;
    let backend = match (backend, backend_adapter) {
        (Some(backend), Some(adapter)) => Some(connect_backend(adapter, &backend).await?),
        _ => None,
    };
    Ok((broker, backend))
}

fn adapter(key: &'static str, config: &AdapterConfig) -> Result<Adapter> {
    let known = || SCHEMES.map(|(scheme, ..)| format!("{scheme}://")).join(", ");
    let url = config.url();
    let Some((scheme, _)) = url.split_once("://") else {
        let text = match url {
            "" => format!(
                "no URL is set: set {key} in windlass.toml or the variable WINDLASS_{}; known are {}",
                key.to_uppercase().replace('.', "__"),
                known()
            ),
            _ => format!("the value has no scheme; known are {}, such as redis://localhost:6379", known()),
        };
        return Err(Error::new(ErrorKind::Config, key, text));
    };
    let tls = if scheme == "rediss" { " (TLS is not supported yet)" } else { "" };
    let found = SCHEMES.iter().find(|(name, ..)| *name == scheme);
    found.map(|(_, adapter, _)| *adapter).ok_or_else(|| {
        Error::new(ErrorKind::Config, key, format!("unknown scheme {scheme:?}{tls}; known are {}", known()))
    })
}

#[allow(dead_code, reason = "used by whichever adapters are not compiled in")]
fn not_compiled_in(key: &'static str, adapter: Adapter) -> Error {
    let (scheme, _, feature) = SCHEMES[adapter as usize];
    let text = format!(
        "{scheme}:// needs the feature {feature:?}, which is not compiled in: \
         add it to windlass in Cargo.toml, or run cargo with --features {feature}"
    );
    Error::new(ErrorKind::Config, key, text)
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
        #[allow(unreachable_patterns, reason = "depends on the features")]
        other => Err(not_compiled_in("broker.url", other)),
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
        #[allow(unreachable_patterns, reason = "depends on the features")]
        other => Err(not_compiled_in("backend.url", other)),
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
