//! Tests of the testing crate.
