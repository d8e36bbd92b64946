//! What the compiler says about mistakes. The texts are part of the interface: `tests/ui/*.stderr`.
//!
//! `TRYBUILD=overwrite cargo test --test it ui` writes them anew; read the difference.

#[test]
fn ui() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
