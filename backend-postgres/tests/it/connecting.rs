//! How a connection comes about, what it is refused for, and what it is like.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use windlass_backend_postgres::{PostgresBackend, PostgresBackendConfig};
use windlass_core::{Backend, ErrorKind};
use windlass_testing::servers::{PostgresServer, free_port};

use crate::support::{Database, config, connect, pool, start_wait, succeeded, until};

const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn wrong_credentials_are_said_without_them() {
    let server = PostgresServer::builder().password("right-pa55").start();
    let with = |password: &str| server.url().replace("right-pa55", password);
    let error = PostgresBackend::connect(PostgresBackendConfig::new(with("wrong-pa55"))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Denied, false), "{error}");
    let text = format!("{error:?}");
    assert!(text.contains("\"postgres\"") && text.contains(&format!("127.0.0.1:{}", server.port())), "{text}");
    assert!(!text.contains("pa55"), "{text}");
    let lazy = Arc::new(PostgresBackend::open(PostgresBackendConfig::new(with("wrong-pa55"))).unwrap());
    assert_eq!(lazy.save(&[succeeded("a")]).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(start_wait(&lazy, "a").await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
    assert!(!format!("{lazy:?}").contains("pa55"));
    let right = connect(PostgresBackendConfig::new(server.url())).await;
    right.save(&[succeeded("a")]).await.unwrap();
    assert!(!format!("{right:?}").contains("pa55"));
}

#[tokio::test]
async fn connecting_to_nothing_names_the_place() {
    let port = free_port();
    let nowhere = || PostgresBackendConfig::new(format!("postgres://u:pa55@127.0.0.1:{port}/d"));
    let error = PostgresBackend::connect(nowhere()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    let text = format!("{error:?}");
    assert!(text.contains(&format!("127.0.0.1:{port}")) && !text.contains("pa55"), "{text}");
    let backend = PostgresBackend::open(nowhere().operation_timeout(SHORT)).unwrap();
    let error = backend.save(&[succeeded("a")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing was sent: {error}");
    let error = PostgresBackend::connect(PostgresBackendConfig::new("http://u:pa55@h")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_missing_database_and_a_wish_for_tls_are_settings_to_mend() {
    let server = Database::new();
    for url in [format!("{}_no", server.url()), format!("{}?sslmode=require", server.url())] {
        let error = PostgresBackend::connect(PostgresBackendConfig::new(&url)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_session_is_named_and_limited() {
    let server = Database::new();
    let backend = connect(config(&server)).await;
    backend.save(&[succeeded("a")]).await.unwrap();
    let options = sqlx::postgres::PgConnectOptions::clone(&pool(&server, 1).await.connect_options());
    let mut other = sqlx::PgConnection::connect_with(&options).await.unwrap();
    let sql = "SELECT count(*) > 0 FROM pg_stat_activity 
        WHERE application_name = 'windlass' AND state = 'idle' AND datname = current_database()";
    let named: bool = sqlx::query_scalar(sql).fetch_one(&mut other).await.unwrap();
    assert!(named);
    server.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON windlass.result FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    let slow = connect(config(&server).operation_timeout(SHORT)).await;
    assert!(slow.save(&[succeeded("b")]).await.unwrap_err().is_retryable());
    until(|| {
        server.sql(
            "SELECT count(*) FROM pg_stat_activity
            WHERE query LIKE 'WITH new%' AND state = 'active' AND datname = current_database()",
        ) == "0"
    })
    .await;
}
