//! What is special about a notebook in tables, beside what every notebook guarantees.

mod answers;
mod expiry;
mod notes;
mod plans;
mod pooler;
mod sets;
mod signals;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windlass_backend_postgres::PostgresBackend;
use windlass_core::{Expected, Heard, Listener, Note, NoteChange, NoteKey, Notebook, Place, Retention, WriteOutcome};

use crate::support::{HOUR, PATIENCE};

fn key(name: impl std::fmt::Display) -> NoteKey {
    NoteKey::new("test", name.to_string()).expect("a valid name")
}

/// A change that is kept for an hour.
fn put(name: impl std::fmt::Display, expected: Expected, value: impl Into<Bytes>) -> NoteChange {
    NoteChange { key: key(name), expected, value: Some(value.into()), keep: HOUR }
}

fn remove(name: impl std::fmt::Display, expected: Expected) -> NoteChange {
    NoteChange { value: None, keep: Retention::None, ..put(name, expected, "") }
}

/// A place that is kept for an hour.
fn at(set: &str, place: u32, value: impl Into<Bytes>) -> Place {
    Place { set: key(set), place, value: value.into(), keep: Duration::from_secs(3600) }
}

async fn write(backend: &PostgresBackend, change: NoteChange) -> WriteOutcome {
    backend.write(&[change]).await.expect("the server answers")[0]
}

/// Writes, and answers the version.
async fn version(backend: &PostgresBackend, change: NoteChange) -> u64 {
    match write(backend, change).await {
        WriteOutcome::Written(version) => version,
        WriteOutcome::Conflict => panic!("a conflict"),
    }
}

async fn read(backend: &PostgresBackend, name: &str) -> Option<Note> {
    backend.read(&[key(name)]).await.expect("the server answers").remove(0)
}

async fn listen(backend: &Arc<PostgresBackend>, topic: &str) -> Box<dyn Listener> {
    backend.listen(topic).await.expect("the server answers")
}

/// What is heard next.
async fn hear(listener: &mut Box<dyn Listener>) -> Heard {
    tokio::time::timeout(PATIENCE, listener.next()).await.expect("something is heard").expect("the backend is open")
}
