//! The names of everything that this backend keeps in Redis. No other file spells a key.

use windlass_core::{NoteKey, TaskId};

/// The keys under one prefix. All share the hash tag `{results}`, so that one script may use them
/// together.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    status: String,
    value: String,
    waiters: String,
    inbox: String,
    note: String,
    shelf: String,
    ends: String,
    versions: String,
    set: String,
    signal: String,
}

impl Keys {
    /// The keys under `prefix`.
    pub(crate) fn new(prefix: &str) -> Self {
        let key = |rest: &str| format!("{prefix}:{{results}}:{rest}");
        Self {
            status: key("s:"),
            value: key("v:"),
            waiters: key("waiters"),
            inbox: key("inbox:"),
            note: key("note:"),
            shelf: key("shelf:"),
            ends: key("ends:"),
            versions: key("versions"),
            set: key("set:"),
            signal: key("signal:"),
        }
    }

    /// Where the record of a task is.
    pub(crate) fn status(&self, id: &TaskId) -> String {
        id.with_str(|id| format!("{}{id}", self.status))
    }

    /// The place, counted from 1, of the id's first byte in [`Keys::status`].
    pub(crate) fn id_offset(&self) -> usize {
        self.status.len() + 1
    }

    /// Where the result of a task is if it is kept apart from the record.
    pub(crate) fn value(&self, id: &TaskId) -> String {
        id.with_str(|id| format!("{}{id}", self.value))
    }

    /// The hash that says who waits for which task.
    pub(crate) fn waiters(&self) -> &str {
        &self.waiters
    }

    /// What the channel of an inbox starts with; its name follows.
    pub(crate) fn inbox_prefix(&self) -> &str {
        &self.inbox
    }

    /// The channel of an inbox.
    pub(crate) fn inbox(&self, name: &str) -> String {
        format!("{}{name}", self.inbox)
    }

    /// Where a note is.
    pub(crate) fn note(&self, key: &NoteKey) -> String {
        self.note_of(key.shelf(), key.name())
    }

    /// Where the note of that name on a shelf is.
    pub(crate) fn note_of(&self, shelf: &str, name: &str) -> String {
        format!("{}{shelf}:{name}", self.note)
    }

    /// The names of the notes on a shelf, in their order.
    pub(crate) fn shelf(&self, shelf: &str) -> String {
        format!("{}{shelf}", self.shelf)
    }

    /// The names of those notes on a shelf that end, by when they do.
    pub(crate) fn ends(&self, shelf: &str) -> String {
        format!("{}{shelf}", self.ends)
    }

    /// The last version that a note was given.
    pub(crate) fn versions(&self) -> &str {
        &self.versions
    }

    /// The places of a set.
    pub(crate) fn set(&self, key: &NoteKey) -> String {
        format!("{}{}:{}", self.set, key.shelf(), key.name())
    }

    /// The channel of a topic.
    pub(crate) fn signal(&self, topic: &str) -> String {
        format!("{}{topic}", self.signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let keys = Keys::new("app");
        let id = TaskId::new("invoice:7").unwrap();
        assert_eq!(keys.status(&id), "app:{results}:s:invoice:7");
        assert_eq!(&keys.status(&id)[keys.id_offset() - 1..], "invoice:7");
        assert_eq!(keys.value(&id), "app:{results}:v:invoice:7");
        assert_eq!(keys.waiters(), "app:{results}:waiters");
        assert_eq!(keys.inbox("x"), "app:{results}:inbox:x");
        let key = NoteKey::new("flow", "a:7").unwrap();
        assert_eq!(keys.note(&key), "app:{results}:note:flow:a:7");
        assert_eq!(keys.set(&key), "app:{results}:set:flow:a:7");
        assert_eq!(keys.shelf("flow"), "app:{results}:shelf:flow");
        assert_eq!(keys.ends("flow"), "app:{results}:ends:flow");
        assert_eq!(keys.versions(), "app:{results}:versions");
        assert_eq!(keys.signal("x"), "app:{results}:signal:x");
    }
}
