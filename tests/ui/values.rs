//! Values that their keys do not take.

#[windlass::task(name = "math add")]
async fn name() {}

#[windlass::task(queue = "amq.math")]
async fn queue() {}

#[windlass::task(queue = math)]
async fn queue_without_quotes() {}

#[windlass::task(max_retries = -1)]
async fn max_retries() {}

#[windlass::task(timeout = "30 seconds")]
async fn timeout() {}

#[windlass::task(timeout = "0s")]
async fn no_time() {}

#[windlass::task(timeout = 30)]
async fn timeout_without_quotes() {}

#[windlass::task(timeout = "30s", soft_timeout = "1m")]
async fn soft_timeout() {}

#[windlass::task(delay = "2000d")]
async fn delay() {}

#[windlass::task(result_ttl = "always")]
async fn result_ttl() {}

#[windlass::task(backoff = "exponential 1s")]
async fn backoff() {}

#[windlass::task(backoff = "exponential 1s 0.5 1h")]
async fn backoff_factor() {}

#[windlass::task(backoff = std::time::Duration::from_secs(1))]
async fn backoff_type() {}

#[windlass::task(retry_on = "errors, crashes")]
async fn retry_on() {}

fn main() {}
