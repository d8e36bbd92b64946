use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use windlass_core::Timestamp;

/// When which entry is to be looked at. Knows of each its name, its version and a time, so that ten
/// thousand of them cost a megabyte and nothing while none is due.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    known: HashMap<Arc<str>, (u64, Option<Timestamp>)>,
    order: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Agenda {
    /// Whether this version of an entry is known.
    pub(super) fn knows(&self, name: &str, version: u64) -> bool {
        self.known.get(name).is_some_and(|(known, _)| *known == version)
    }

    /// Looks at an entry at that time, or not before it changes.
    pub(super) fn set(&mut self, name: &str, version: u64, wake: Option<Timestamp>) {
        self.remove(name);
        let name: Arc<str> = name.into();
        if let Some(wake) = wake {
            self.order.insert((wake, Arc::clone(&name)));
        }
        self.known.insert(name, (version, wake));
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some((name, (_, Some(wake)))) = self.known.remove_entry(name) {
            self.order.remove(&(wake, name));
        }
    }

    /// Forgets all entries but these.
    pub(super) fn keep_only(&mut self, names: &BTreeSet<String>) {
        let gone: Vec<Arc<str>> = self.known.keys().filter(|name| !names.contains(&***name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
    }

    /// At most `max` entries whose time has come, the first one first.
    pub(super) fn due(&self, now: Timestamp, max: usize) -> Vec<String> {
        self.order.iter().take_while(|(wake, _)| *wake <= now).take(max).map(|(_, name)| name.to_string()).collect()
    }

    /// When the first time comes.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(wake, _)| *wake)
    }
}
