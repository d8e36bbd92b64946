//! The suites can fail: adapters with one defect each, and the guarantees that must see it.
//!
//! Every guarantee is here at least once, so that none of them is a test that cannot fail.

mod backend;
mod backend_defects;
mod broker;
mod broker_defects;
mod notebook;
mod notebook_defects;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use windlass_testing::conformance::{self, Guarantee};

pub(crate) type Check = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether a guarantee is kept; one that takes for ever is not.
pub(crate) async fn passes(guarantee: Check) -> bool {
    tokio::spawn(tokio::time::timeout(Duration::from_secs(600), guarantee)).await.is_ok_and(|ended| ended.is_ok())
}

/// A call of a memory adapter that needs no waiting.
pub(crate) fn at_once<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a memory adapter answers at once"),
    }
}

/// The bytes as somebody reads them who takes them for text.
fn lossy(bytes: &[u8]) -> bytes::Bytes {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// The payload without what is beyond 64 KiB.
fn cut(bytes: &bytes::Bytes) -> bytes::Bytes {
    bytes.slice(..bytes.len().min(65_536))
}

/// An id as somebody writes it who trusts no character.
fn tame(id: &windlass_core::TaskId) -> windlass_core::TaskId {
    id.to_string().replace(':', "_").parse().unwrap()
}

/// Makes `check(guarantee, defect)`, the trial of the guarantee of that name with an adapter of that defect.
macro_rules! checks {
    (
        { $kind:ident $adapter:ident $defect:ident }
        $($group:ident: $stage:ident { $($guarantee:ident [$($need:ident)*] $sentence:literal;)* })*
    ) => {
        fn check(guarantee: &str, defect: $defect) -> crate::broken::Check {
            use windlass_testing::conformance::$kind;
            match guarantee {
                $($(stringify!($guarantee) => checks!($stage $kind $guarantee $adapter defect),)*)*
                other => panic!("{other} is no guarantee"),
            }
        }
    };
    (alone $kind:ident $guarantee:ident $adapter:ident $defect:ident) => {
        Box::pin($kind::$guarantee($adapter::new($defect)))
    };
    (pair $kind:ident $guarantee:ident $adapter:ident $defect:ident) => {{
        let (one, other) = $adapter::pair($defect);
        Box::pin($kind::$guarantee(one, other))
    }};
    (disturbed $kind:ident $guarantee:ident $adapter:ident $defect:ident) => {{
        let adapter = $adapter::new($defect);
        let disturb = {
            let adapter = std::sync::Arc::clone(&adapter);
            windlass_testing::conformance::Disturb::new(move || adapter.disturb())
        };
        Box::pin($kind::$guarantee(adapter, disturb))
    }};
}

/// One test for each defect: the guarantees that must not be kept with it, though they are without.
macro_rules! must_fail {
    ($module:ident, $defects:ident: $($test:ident: $defect:ident => $($guarantee:ident)+;)*) => {
        /// The guarantees that a defect breaks.
        pub(crate) const BROKEN: &[&str] = &[$($(stringify!($guarantee)),+),*];

        mod $module {
            $(
                #[tokio::test(start_paused = true)]
                async fn $test() {
                    for guarantee in [$(stringify!($guarantee)),+] {
                        let sound = super::check(guarantee, super::$defects::Sound);
                        assert!(crate::broken::passes(sound).await, "{guarantee} fails without a defect");
                        let broken = super::check(guarantee, super::$defects::$defect);
                        assert!(!crate::broken::passes(broken).await, "{guarantee} does not see it");
                    }
                }
            )*
        }
    };
}

pub(crate) use {checks, must_fail};

/// Every guarantee has a defect that breaks it.
#[test]
fn no_guarantee_is_without_a_defect_that_breaks_it() {
    let broken = [broker::BROKEN, backend::BROKEN, notebook::BROKEN, crate::limited::BROKEN].concat();
    let suites = [conformance::broker::GUARANTEES, conformance::backend::GUARANTEES, conformance::notebook::GUARANTEES];
    let all = suites.into_iter().flatten();
    let never: Vec<&str> =
        all.map(|guarantee: &Guarantee| guarantee.name).filter(|name| !broken.contains(name)).collect();
    assert_eq!(never, [""; 0], "no broken adapter shows that these can fail");
}
