//! Tests on a real Redis.
