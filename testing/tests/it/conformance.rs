//! The memory adapters pass the suites: as they are, as trait objects, and behind wrappers that do nothing.

mod broker {
    use std::sync::Arc;
    use windlass_testing::MemoryBroker;
    windlass_testing::broker_conformance!(async { Arc::new(MemoryBroker::new()) });
}

mod broker_behind_a_trait_object_and_no_faults {
    use std::sync::Arc;
    use windlass_core::Broker;
    use windlass_testing::{MemoryBroker, fault::FaultyBroker};

    async fn broker() -> Arc<dyn Broker> {
        Arc::new(FaultyBroker::new(Arc::new(MemoryBroker::new())))
    }

    windlass_testing::broker_conformance!(broker());
}

mod backend {
    use std::sync::Arc;
    use windlass_testing::MemoryBackend;
    windlass_testing::backend_conformance!(async { Arc::new(MemoryBackend::new()) });
}

mod backend_behind_a_trait_object_and_no_faults {
    use std::sync::Arc;
    use windlass_core::Backend;
    use windlass_testing::{MemoryBackend, fault::FaultyBackend};

    async fn backend() -> Arc<dyn Backend> {
        Arc::new(FaultyBackend::new(Arc::new(MemoryBackend::new())))
    }

    windlass_testing::backend_conformance!(backend());
}

/// Every public function of a suite is a guarantee, and a guarantee that is not listed is not tested.
#[test]
fn every_guarantee_is_listed() {
    for (kind, listed) in [("broker", broker_names()), ("backend", backend_names())] {
        let folder = format!("{}/src/conformance/{kind}", env!("CARGO_MANIFEST_DIR"));
        let mut written = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let name =
                |line: &str| line.strip_prefix("pub async fn ")?.split_once('(').map(|(name, _)| name.to_owned());
            written.extend(text.lines().filter_map(name));
        }
        let mut listed: Vec<String> = listed.into_iter().map(str::to_owned).collect();
        listed.sort();
        written.sort();
        assert_eq!(listed, written);
    }
}

macro_rules! names {
    ({} $($name:ident)*) => { vec![$(stringify!($name)),*] };
}

fn broker_names() -> Vec<&'static str> {
    windlass_testing::broker_guarantees!([names] {})
}

fn backend_names() -> Vec<&'static str> {
    windlass_testing::backend_guarantees!([names] {})
}
