//! Keys of the attribute that it does not know, or that are not well formed.

#[windlass::task(timout = "30s")]
async fn misspelled() {}

#[windlass::task(retries = 3)]
async fn shortened() {}

#[windlass::task(weight = 9)]
async fn unheard_of() {}

#[windlass::task(timeout = "30s", timeout = "1m")]
async fn twice() {}

#[windlass::task(queue)]
async fn without_value() {}

#[windlass::task(timeout("30s"))]
async fn in_parentheses() {}

#[windlass::task("math:add")]
async fn without_key() {}

fn main() {}
