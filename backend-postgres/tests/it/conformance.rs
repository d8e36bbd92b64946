//! The suite that every backend passes, on one database for all tests.

use std::sync::{Arc, LazyLock};

use windlass_backend_postgres::{PostgresBackend, PostgresBackendConfig};
use windlass_testing::servers::FaultProxy;

use crate::support::{Database, at, config, connect, over, pool};

static BASE: LazyLock<Database> = LazyLock::new(Database::new);

fn settings() -> PostgresBackendConfig {
    config(&*BASE)
}

/// A backend with these settings, and what cuts its connections.
async fn disturbed(settings: PostgresBackendConfig) -> (Arc<PostgresBackend>, impl Fn()) {
    let proxy = FaultProxy::start(BASE.port());
    let url = BASE.at((proxy.addr().ip(), proxy.port()));
    (connect(at(url, settings)).await, move || proxy.cut())
}

mod own_connections {
    use super::*;

    windlass_testing::backend_conformance!(
        connect(settings()),
        name = "Postgres",
        pair = async { (connect(settings()).await, connect(settings()).await) },
        disturbed = disturbed(settings())
    );

    mod notebook {
        use super::*;

        windlass_testing::notebook_conformance!(
            connect(settings()),
            name = "Postgres",
            pair = async { (connect(settings()).await, connect(settings()).await) },
            disturbed = disturbed(settings())
        );
    }
}

mod behind_a_pooler {
    use super::*;

    windlass_testing::backend_conformance!(
        connect(settings().pooler(true)),
        name = "Postgres, behind a pooler",
        pair = async { (connect(settings().pooler(true)).await, connect(settings().pooler(true)).await) },
        disturbed = disturbed(settings().pooler(true))
    );

    mod notebook {
        use super::*;

        windlass_testing::notebook_conformance!(
            connect(settings().pooler(true)),
            name = "Postgres, behind a pooler",
            pair = async { (connect(settings().pooler(true)).await, connect(settings().pooler(true)).await) },
            disturbed = disturbed(settings().pooler(true))
        );
    }
}

mod on_a_pool_of_the_application {
    use super::*;

    async fn one() -> Arc<PostgresBackend> {
        over(pool(&*BASE, 3).await, settings()).await
    }

    windlass_testing::backend_conformance!(
        one(),
        name = "Postgres, a pool of the application",
        pair = async { (one().await, one().await) }
    );

    mod notebook {
        use super::*;

        windlass_testing::notebook_conformance!(
            one(),
            name = "Postgres, a pool of the application",
            pair = async { (one().await, one().await) }
        );
    }
}
