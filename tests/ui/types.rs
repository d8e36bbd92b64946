//! Arguments and results of `#[task]` that serde cannot write, and errors that are none.
#![allow(unused_variables)]

struct Plain;

#[windlass::task]
async fn argument(value: Plain) {}

#[windlass::task]
async fn result() -> Plain {
    Plain
}

#[windlass::task]
async fn error() -> Result<i64, Plain> {
    Err(Plain)
}

#[windlass::task]
fn blocking_error() -> Result<(), Plain> {
    Err(Plain)
}

fn main() {}
