//! What only this notebook does: its keys, their ends, and how it bears the faults of Redis.

mod ends;
mod faults;
mod values;

use std::time::Duration;

use bytes::Bytes;
use windlass_backend_redis::RedisBackend;
use windlass_core::{Expected, Note, NoteChange, NoteKey, Notebook, Place, Retention, WriteOutcome};

use crate::support::HOUR;

const SHELF: &str = "windlass:{results}:shelf:test";
const ENDS: &str = "windlass:{results}:ends:test";

fn key(name: impl std::fmt::Display) -> NoteKey {
    NoteKey::new("test", name.to_string()).expect("a valid name")
}

fn note_of(name: &str) -> String {
    format!("windlass:{{results}}:note:test:{name}")
}

fn put(name: impl std::fmt::Display, expected: Expected, value: impl Into<Bytes>, keep: Retention) -> NoteChange {
    NoteChange { key: key(name), expected, value: Some(value.into()), keep }
}

fn remove(name: impl std::fmt::Display) -> NoteChange {
    NoteChange { key: key(name), expected: Expected::Anything, value: None, keep: HOUR }
}

fn place(name: &str, place: u32, keep: Duration) -> Place {
    Place { set: key(name), place, value: format!("value {place}").into(), keep }
}

fn version(outcome: WriteOutcome) -> u64 {
    match outcome {
        WriteOutcome::Written(version) => version,
        WriteOutcome::Conflict => panic!("a conflict"),
    }
}

async fn write_one(backend: &RedisBackend, change: NoteChange) -> WriteOutcome {
    backend.write(&[change]).await.unwrap()[0]
}

async fn read_one(backend: &RedisBackend, name: &str) -> Option<Note> {
    backend.read(&[key(name)]).await.unwrap().remove(0)
}

async fn names(backend: &RedisBackend, max: usize) -> (Vec<String>, Option<String>) {
    let page = backend.list("test", None, max).await.unwrap();
    (page.notes.into_iter().map(|(name, _)| name).collect(), page.next)
}
