//! The commands of the windlass repository.
fn main() {}
