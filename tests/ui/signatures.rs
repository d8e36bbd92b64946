//! Functions that cannot be tasks.
#![allow(unused_variables)]

use windlass::{Context, State};

#[windlass::task]
struct Add;

#[windlass::task]
const ADD: i64 = 5;

#[windlass::task]
async fn generic<T>(value: T) -> T {
    value
}

#[windlass::task]
async fn any(value: impl Send) {}

#[windlass::task]
async fn text(value: &str) {}

#[windlass::task]
async fn bytes(value: &[u8], names: Vec<&'static str>) {}

#[windlass::task]
async fn borrowed(value: std::borrow::Cow<'_, str>) {}

#[windlass::task]
async fn lent() -> &'static str {
    "lent"
}

#[windlass::task]
async fn hidden() -> Result<impl Send, std::fmt::Error> {
    Ok(1)
}

#[windlass::task]
async fn alias() -> std::fmt::Result {
    Ok(())
}

#[windlass::task]
async fn nine(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) {}

#[windlass::task]
async fn late(value: u8, context: Context) {}

#[windlass::task]
async fn four(context: Context, a: State<u8>, b: State<u16>, c: State<u32>) {}

#[windlass::task]
async unsafe fn dangerous() {}

#[windlass::task]
extern "C" fn foreign(value: &u8) {}

struct Calculator;

impl Calculator {
    #[windlass::task]
    async fn add(&self, a: i64) {}
}

fn main() {}
