//! The limits that are checked before any network call.

use std::time::Duration;

use crate::{Error, Result};

/// Longest queue name, task name or task id, in bytes.
pub const NAME_BYTES: usize = 128;
/// Largest payload (arguments or result) unless configured otherwise: 1 MiB.
pub const PAYLOAD_BYTES: usize = 1024 * 1024;
/// Largest payload that any configuration may allow: 16 MiB.
pub const PAYLOAD_BYTES_HARD: usize = 16 * 1024 * 1024;
/// Largest sum of all headers of one message: 16 KiB.
pub const HEADER_BYTES: usize = 16 * 1024;
/// Most messages in one call of an adapter.
pub const BATCH_ITEMS: usize = 1000;
/// Most payload bytes in one call of an adapter: 4 MiB (a single larger message travels alone).
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Longest error text that is stored: 4 KiB.
pub const ERROR_BYTES: usize = 4 * 1024;
/// Longest delay of a task: 366 days.
pub const DELAY: Duration = Duration::from_secs(366 * 24 * 3600);

/// Refuses a payload of `bytes` that is larger than `limit`.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] that names both numbers.
pub fn check_payload(bytes: usize, limit: usize) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::invalid(
        "payload",
        format_args!("{bytes} B"),
        format_args!("at most {limit} B (setting: limits.payload)"),
    ))
}

/// Refuses a delay beyond [`DELAY`].
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] that names the value and the limit.
pub fn check_delay(delay: Duration) -> Result<()> {
    if delay <= DELAY {
        return Ok(());
    }
    Err(Error::invalid(
        "delay",
        format_args!("{} s", delay.as_secs()),
        format_args!("at most {} s (366 days)", DELAY.as_secs()),
    ))
}

/// Splits `items` into runs of at most [`BATCH_ITEMS`] items and [`BATCH_BYTES`] bytes each.
pub fn batches<T>(items: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut batches = Vec::new();
    let (mut start, mut sum) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        let size = bytes(item);
        if index > start && (index - start >= BATCH_ITEMS || sum + size > BATCH_BYTES) {
            batches.push(&items[start..index]);
            (start, sum) = (index, 0);
        }
        sum += size;
    }
    if start < items.len() {
        batches.push(&items[start..]);
    }
    batches
}
