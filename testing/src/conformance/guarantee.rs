//! Guarantees as data, and what a run shows about one of them.

use std::env;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::path::Path;

/// The variable that names a folder into which every run writes what it showed.
const REPORT: &str = "CONFORMANCE_GUARANTEES";

/// Something that an adapter promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guarantee {
    /// `broker`, `backend` or `notebook`.
    pub kind: &'static str,
    /// What it is about, in one word.
    pub group: &'static str,
    /// The name of its function and of its test.
    pub name: &'static str,
    /// What is guaranteed.
    pub sentence: &'static str,
    /// What an adapter must be able to do, so that it is asked of it.
    pub needs: &'static [Need],
    /// What its test is done with.
    pub stage: Stage,
}

/// What a guarantee is tested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// One adapter.
    Alone,
    /// Two adapters that were connected to one store, each for itself.
    Pair,
    /// One adapter whose connections can be broken.
    Disturbed,
}

/// Something that an adapter can do or not, by its capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the capability of that name")]
#[non_exhaustive]
pub enum Need {
    Delay,
    Priority,
    Lease,
    /// Claims without leases, which last as long as the connection.
    NoLease,
    Fencing,
    Cancel,
    Locate,
    DeadLetters,
    Idempotent,
    Limit,
    DropOldest,
    Push,
    Expiry,
}

impl Need {
    /// The name of the capability.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Priority => "priority",
            Self::Lease => "lease",
            Self::NoLease => "no lease",
            Self::Fencing => "fencing",
            Self::Cancel => "cancel",
            Self::Locate => "locate",
            Self::DeadLetters => "dead_letters",
            Self::Idempotent => "idempotent",
            Self::Limit => "limit",
            Self::DropOldest => "drop_oldest",
            Self::Push => "push",
            Self::Expiry => "expiry",
        }
    }
}

/// One guarantee and one adapter that is to show it.
#[derive(Debug)]
pub struct Trial {
    guarantee: &'static Guarantee,
    place: usize,
    adapter: String,
    missing: Vec<&'static str>,
}

impl Trial {
    /// The trial of the guarantee of that name with an adapter that offers this.
    pub(super) fn new(table: &'static [Guarantee], name: &str, adapter: &str, offered: &[Need]) -> Self {
        let place = table.iter().position(|guarantee| guarantee.name == name);
        let place = place.unwrap_or_else(|| panic!("{name} is no guarantee"));
        let guarantee = &table[place];
        let missing = guarantee.needs.iter().filter(|need| !offered.contains(need)).map(|need| need.as_str());
        Self { guarantee, place, adapter: adapter.to_owned(), missing: missing.collect() }
    }

    /// Shows the guarantee, or that it is not asked for; and reports which of the two it was.
    ///
    /// # Panics
    /// If the guarantee is not kept.
    pub async fn show(self, guarantee: impl Future<Output = ()>) {
        if self.missing.is_empty() {
            guarantee.await;
        }
        if let Some(folder) = env::var_os(REPORT) {
            self.report(Path::new(&folder));
        }
    }

    /// Appends a line to the report: suite, place in it, group, guarantee, its sentence, adapter, and what
    /// is missing.
    fn report(&self, folder: &Path) {
        let Guarantee { kind, group, name, sentence, .. } = self.guarantee;
        let (place, adapter, missing) = (self.place, &self.adapter, self.missing.join(","));
        let line = format!("{kind}\t{place}\t{group}\t{name}\t{sentence}\t{adapter}\t{missing}\n");
        let written = fs::create_dir_all(folder).and_then(|()| {
            let mut file = OpenOptions::new().create(true).append(true).open(folder.join(format!("{kind}.tsv")))?;
            file.write_all(line.as_bytes())
        });
        written.unwrap_or_else(|error| panic!("{REPORT}={}: {error}", folder.display()));
    }
}
