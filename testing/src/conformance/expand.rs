//! The macros that make a test of every guarantee.

/// Expands every guarantee of [`conformance::broker`](crate::conformance::broker) into a test.
///
/// Takes a future of an `Arc` of the adapter, and optionally `name`, `pair` and `disturbed`; see
/// [`conformance`](crate::conformance).
#[macro_export]
macro_rules! broker_conformance {
    (
        $adapter:expr
        $(, name = $name:expr)? $(, pair = $pair:expr)? $(, disturbed = $disturbed:expr)? $(,)?
    ) => {
        $crate::broker_guarantees!(
            [$crate::conformance_tests] { broker [$($name)?] [$adapter] [$($pair)?] [$($disturbed)?] }
        );
    };
}

/// Expands every guarantee of [`conformance::backend`](crate::conformance::backend) into a test.
///
/// Takes a future of an `Arc` of the adapter, and optionally `name`, `pair` and `disturbed`; see
/// [`conformance`](crate::conformance).
#[macro_export]
macro_rules! backend_conformance {
    (
        $adapter:expr
        $(, name = $name:expr)? $(, pair = $pair:expr)? $(, disturbed = $disturbed:expr)? $(,)?
    ) => {
        $crate::backend_guarantees!(
            [$crate::conformance_tests] { backend [$($name)?] [$adapter] [$($pair)?] [$($disturbed)?] }
        );
    };
}

/// Expands every guarantee of [`conformance::notebook`](crate::conformance::notebook) into a test.
///
/// Takes a future of an `Arc` of a backend that has a notebook, and optionally `name`, `pair` and
/// `disturbed`; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! notebook_conformance {
    (
        $adapter:expr
        $(, name = $name:expr)? $(, pair = $pair:expr)? $(, disturbed = $disturbed:expr)? $(,)?
    ) => {
        $crate::notebook_guarantees!(
            [$crate::conformance_tests] { notebook [$($name)?] [$adapter] [$($pair)?] [$($disturbed)?] }
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    (
        $given:tt
        $($group:ident: $stage:ident { $($guarantee:ident [$($need:ident)*] $sentence:literal;)* })*
    ) => {
        $($($crate::conformance_test! { $stage $guarantee $given })*)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test {
    (alone $guarantee:ident { $kind:ident [$($name:expr)?] [$adapter:expr] $pair:tt $disturbed:tt }) => {
        #[test]
        fn $guarantee() {
            $crate::conformance::run(async {
                let adapter = ($adapter).await;
                let trial = $crate::conformance::$kind::trial(stringify!($guarantee), &[$($name)?], &*adapter);
                trial.show($crate::conformance::$kind::$guarantee(adapter)).await;
            });
        }
    };
    (pair $guarantee:ident { $kind:ident [$($name:expr)?] $adapter:tt [$pair:expr] $disturbed:tt }) => {
        #[test]
        fn $guarantee() {
            $crate::conformance::run(async {
                let (one, other) = ($pair).await;
                let trial = $crate::conformance::$kind::trial(stringify!($guarantee), &[$($name)?], &*one);
                trial.show($crate::conformance::$kind::$guarantee(one, other)).await;
            });
        }
    };
    (disturbed $guarantee:ident { $kind:ident [$($name:expr)?] $adapter:tt $pair:tt [$disturbed:expr] }) => {
        #[test]
        fn $guarantee() {
            $crate::conformance::run(async {
                let (adapter, disturb) = ($disturbed).await;
                let disturb = $crate::conformance::Disturb::new(disturb);
                let trial = $crate::conformance::$kind::trial(stringify!($guarantee), &[$($name)?], &*adapter);
                trial.show($crate::conformance::$kind::$guarantee(adapter, disturb)).await;
            });
        }
    };
    // What this guarantee needs is not given.
    ($stage:ident $guarantee:ident $given:tt) => {};
}

/// Makes the table of all guarantees of a suite.
macro_rules! guarantee_table {
    (
        { $kind:literal }
        $($group:ident: $stage:ident { $($guarantee:ident [$($need:ident)*] $sentence:literal;)* })*
    ) => {
        &[$($(crate::conformance::Guarantee {
            kind: $kind,
            group: stringify!($group),
            name: stringify!($guarantee),
            sentence: $sentence,
            needs: &[$(crate::conformance::Need::$need),*],
            stage: crate::conformance::expand::guarantee_stage!($stage),
        },)*)*]
    };
}

macro_rules! guarantee_stage {
    (alone) => {
        crate::conformance::Stage::Alone
    };
    (pair) => {
        crate::conformance::Stage::Pair
    };
    (disturbed) => {
        crate::conformance::Stage::Disturbed
    };
}

pub(super) use {guarantee_stage, guarantee_table};
