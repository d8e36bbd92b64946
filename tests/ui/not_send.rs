//! A task may go on on another thread.

use std::rc::Rc;

#[windlass::task]
async fn shared() -> i64 {
    let value = Rc::new(1);
    std::future::ready(()).await;
    *value
}

fn main() {}
