//! The benchmark program of windlass.
fn main() {}
