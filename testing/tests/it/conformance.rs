//! The memory adapters pass the suites: as they are, as trait objects, and behind wrappers that do nothing.

use windlass_testing::conformance::{Stage, backend, broker, notebook};

mod memory_broker {
    use std::sync::Arc;
    use windlass_testing::MemoryBroker;
    windlass_testing::broker_conformance!(async { Arc::new(MemoryBroker::new()) }, name = "Memory");
}

mod memory_backend {
    use std::sync::Arc;
    use windlass_testing::MemoryBackend;
    windlass_testing::backend_conformance!(async { Arc::new(MemoryBackend::new()) }, name = "Memory");
}

mod memory_notebook {
    use std::sync::Arc;
    use windlass_testing::MemoryBackend;

    windlass_testing::notebook_conformance!(async { Arc::new(MemoryBackend::new()) }, name = "Memory");
}

/// The suites in virtual time, with wrapped adapters.
macro_rules! in_virtual_time {
    (
        { $kind:ident $adapter:expr }
        $($group:ident: $stage:ident { $($guarantee:ident [$($need:ident)*] $sentence:literal;)* })*
    ) => {
        $($(in_virtual_time! { $stage $kind $guarantee $adapter })*)*
    };
    (alone $kind:ident $guarantee:ident $adapter:expr) => {
        #[tokio::test(start_paused = true)]
        async fn $guarantee() {
            let adapter = $adapter;
            let trial = $kind::trial(stringify!($guarantee), &["Memory"], &*adapter);
            trial.show($kind::$guarantee(adapter)).await;
        }
    };
    ($stage:ident $kind:ident $guarantee:ident $adapter:expr) => {};
}

mod broker_behind_a_trait_object_and_no_faults {
    use std::sync::Arc;

    use windlass_core::Broker;
    use windlass_testing::conformance::broker;
    use windlass_testing::{MemoryBroker, fault::FaultyBroker};

    fn wrapped() -> Arc<dyn Broker> {
        Arc::new(FaultyBroker::new(Arc::new(MemoryBroker::new())))
    }

    windlass_testing::broker_guarantees!([in_virtual_time] { broker wrapped() });
}

mod backend_behind_a_trait_object_and_no_faults {
    use std::sync::Arc;

    use windlass_core::Backend;
    use windlass_testing::conformance::backend;
    use windlass_testing::{MemoryBackend, fault::FaultyBackend};

    fn wrapped() -> Arc<dyn Backend> {
        Arc::new(FaultyBackend::new(Arc::new(MemoryBackend::new())))
    }

    windlass_testing::backend_guarantees!([in_virtual_time] { backend wrapped() });
}

mod notebook_behind_a_trait_object_and_no_faults {
    use std::sync::Arc;

    use windlass_core::Backend;
    use windlass_testing::conformance::notebook;
    use windlass_testing::{MemoryBackend, fault::FaultyBackend};

    fn wrapped() -> Arc<dyn Backend> {
        Arc::new(FaultyBackend::new(Arc::new(MemoryBackend::new())))
    }

    windlass_testing::notebook_guarantees!([in_virtual_time] { notebook wrapped() });
}

/// What is written in the source about one guarantee: its name, its stage, and the first paragraph of its
/// documentation.
type Written = (String, Stage, String);

/// The table and the functions of each suite say the same: what is not listed is not tested.
#[test]
fn the_tables_are_what_is_written() {
    let suites = [("broker", broker::GUARANTEES), ("backend", backend::GUARANTEES), ("notebook", notebook::GUARANTEES)];
    for (kind, table) in suites {
        let folder = format!("{}/src/conformance/{kind}", env!("CARGO_MANIFEST_DIR"));
        let mut written: Vec<Written> = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            written.extend(guarantees_in(&std::fs::read_to_string(file.unwrap().path()).unwrap(), kind));
        }
        let listed = table.iter().map(|one| (one.name.to_owned(), one.stage, one.sentence.to_owned()));
        let mut listed: Vec<Written> = listed.collect();
        listed.sort_by(|one, other| one.0.cmp(&other.0));
        written.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(listed, written);
        assert!(table.iter().all(|guarantee| guarantee.kind == kind));
    }
}

fn guarantees_in(text: &str, kind: &str) -> Vec<Written> {
    let mut found = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(sentence) = line.strip_prefix("///") {
            doc.push(sentence.trim());
            continue;
        }
        let function = line.strip_prefix("pub async fn ").and_then(|rest| rest.split_once('('));
        if let Some((name, parameters)) = function {
            let stage = match parameters.matches(&format!("dyn {}", adapter(kind))).count() {
                2 => Stage::Pair,
                _ if parameters.contains("Disturb") => Stage::Disturbed,
                _ => Stage::Alone,
            };
            let sentence = doc.split(|line| line.is_empty()).next().unwrap_or_default().join(" ");
            found.push((name.to_owned(), stage, sentence));
        }
        doc.clear();
    }
    found
}

/// The trait of what the suite is run on.
fn adapter(kind: &str) -> &str {
    if kind == "broker" { "Broker" } else { "Backend" }
}

/// The page about writing an adapter shows the examples as they are.
#[test]
fn the_page_about_adapters_shows_the_examples() {
    let page = std::fs::read_to_string(format!("{}/../docs/adapters.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (broker, notebook) = page.split_once("\n## A notebook, complete\n").unwrap();
    let examples = [(broker, include_str!("example.rs")), (notebook, include_str!("example_notebook.rs"))];
    for (section, example) in examples {
        let blocks = section.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
        let shown = blocks.collect::<Vec<_>>().join("\n");
        let begin = example.lines().next().unwrap_or_default();
        assert!(shown == example, "docs/adapters.md and the example differ that begins with {begin:?}");
    }
}
