//! Reads, changes and lists notes.

use bytes::Bytes;
use redis::Cmd;
use windlass_core::limits::{self, BATCH_BYTES, BATCH_ITEMS};
use windlass_core::notebook::VALUE_BYTES;
use windlass_core::{Error, ErrorKind, Expected, Note, NoteChange, NoteKey, NotePage, Result, Retention, WriteOutcome};

use crate::scripts;
use crate::store::{Store, lifetime};

/// Names that a page looks at first; four times as many in each further step, because values can be
/// large.
const FIRST_STEP: usize = 32;
/// Steps of one page: where so many notes have ended that it is not full by then, it ends early.
const STEPS: usize = 16;
/// What a change needs beside its value: its key, name and numbers.
const CHANGE_BYTES: usize = 512;

impl Store {
    /// The notes under these keys.
    pub(crate) async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>> {
        let mut notes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH_ITEMS) {
            notes.extend(self.notes("read", keys.iter().map(|key| self.keys.note(key)).collect()).await?);
        }
        Ok(notes)
    }

    async fn notes(&self, operation: &'static str, keys: Vec<String>) -> Result<Vec<Option<Note>>> {
        let values = self.mget(operation, &keys).await?;
        let read =
            |(key, value): (&String, Option<Bytes>)| value.map(|value| decode(operation, key, value)).transpose();
        keys.iter().zip(values).map(read).collect()
    }

    /// Changes notes. One attempt: who repeats it after a lost answer can be told of a conflict with
    /// the own first attempt.
    pub(crate) async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        for change in changes {
            check_value(change.value.as_ref().map_or(0, Bytes::len))?;
        }
        let mut outcomes = Vec::with_capacity(changes.len());
        for batch in limits::batches(changes, |change| CHANGE_BYTES + change.value.as_ref().map_or(0, Bytes::len)) {
            match self.write_batch(batch).await {
                Ok(answers) => outcomes.extend(answers),
                Err(error) => return Err(in_part(error, outcomes.len(), changes.len())),
            }
        }
        Ok(outcomes)
    }

    async fn write_batch(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>> {
        let call = self.write_call(changes);
        let send = |mut connection| async move { scripts::run(&self.scripts.note, &call, &mut connection).await };
        let versions: Vec<Option<u64>> = self.link.ask("write", true, send).await?;
        check_count("write", versions.len(), changes.len())?;
        Ok(versions.into_iter().map(|version| version.map_or(WriteOutcome::Conflict, WriteOutcome::Written)).collect())
    }

    fn write_call(&self, changes: &[NoteChange]) -> Cmd {
        let mut shelves: Vec<&str> = changes.iter().map(|change| change.key.shelf()).collect();
        shelves.sort_unstable();
        shelves.dedup();
        let bytes = changes.iter().map(|change| CHANGE_BYTES + change.value.as_ref().map_or(0, Bytes::len)).sum();
        let keys = 1 + 2 * shelves.len() + changes.len();
        let mut call = scripts::call(&self.scripts.note, keys, 1 + 5 * changes.len(), bytes);
        call.arg(self.keys.versions());
        for shelf in &shelves {
            call.arg(self.keys.shelf(shelf)).arg(self.keys.ends(shelf));
        }
        for change in changes {
            call.arg(self.keys.note(&change.key));
        }
        call.arg(shelves.len());
        for NoteChange { key, expected, value, keep } in changes {
            let shelf = shelves.partition_point(|shelf| *shelf < key.shelf());
            call.arg(shelf + 1).arg(key.name());
            match expected {
                Expected::Anything => call.arg("*"),
                Expected::Absent => call.arg("-"),
                Expected::Version(version) => call.arg(version),
            };
            let keep = if value.is_some() { *keep } else { Retention::None };
            call.arg(lifetime(keep)).arg(value.as_deref().unwrap_or_default());
        }
        call
    }

    /// A page of the notes of a shelf.
    pub(crate) async fn list(&self, shelf: &str, after: Option<&str>, max: usize) -> Result<NotePage> {
        let mut page = NotePage::default();
        let max = max.min(BATCH_ITEMS);
        if max == 0 {
            return Ok(page);
        }
        let (mut looked_at, mut bytes, mut step) = (after.map(str::to_owned), 0, FIRST_STEP);
        for _ in 0..STEPS {
            // One more than there is room for tells whether there is a next page.
            let count = step.min(max + 1 - page.notes.len());
            let names = self.names(shelf, looked_at.as_deref(), count).await?;
            let is_end = names.len() < count;
            let notes = self.notes("list", names.iter().map(|name| self.keys.note_of(shelf, name)).collect()).await?;
            let gone: Vec<&String> =
                names.iter().zip(&notes).filter(|(_, n)| n.is_none()).map(|(name, _)| name).collect();
            self.tidy(shelf, &gone).await;
            looked_at = names.last().cloned().or(looked_at);
            for (name, note) in names.into_iter().zip(notes) {
                let Some(note) = note else { continue };
                if page.notes.len() == max || bytes > BATCH_BYTES {
                    page.next = page.notes.last().map(|(name, _)| name.clone());
                    return Ok(page);
                }
                bytes += note.value.len();
                page.notes.push((name, note));
            }
            if is_end {
                return Ok(page);
            }
            step = (4 * step).min(BATCH_ITEMS);
        }
        page.next = looked_at;
        Ok(page)
    }

    async fn names(&self, shelf: &str, after: Option<&str>, count: usize) -> Result<Vec<String>> {
        let mut call = redis::cmd("ZRANGEBYLEX");
        let from = after.map_or("-".to_owned(), |after| format!("({after}"));
        call.arg(self.keys.shelf(shelf)).arg(from).arg("+").arg("LIMIT").arg(0).arg(count);
        let send = |mut connection| async move { call.query_async(&mut connection).await };
        self.link.ask("list", false, send).await
    }

    /// Best effort: what stays behind is found again by the next page, or removed by the next change.
    async fn tidy(&self, shelf: &str, names: &[&String]) {
        if names.is_empty() {
            return;
        }
        let mut call = scripts::call(&self.scripts.tidy, 2 + names.len(), names.len(), 256 * names.len());
        call.arg(self.keys.shelf(shelf)).arg(self.keys.ends(shelf));
        for name in names {
            call.arg(self.keys.note_of(shelf, name));
        }
        call.arg(names);
        let send = |mut connection| async move { scripts::run(&self.scripts.tidy, &call, &mut connection).await };
        if let Err(error) = self.link.ask::<u64, _>("list", false, send).await {
            tracing::debug!(target: "windlass::backend::redis", "{error}; names of notes that have ended stay");
        }
    }
}

/// Refuses a value of a note or a place that is too large.
pub(crate) fn check_value(bytes: usize) -> Result<()> {
    if bytes <= VALUE_BYTES {
        return Ok(());
    }
    Err(Error::invalid("value", format_args!("{bytes} B"), format_args!("at most {VALUE_BYTES} B")))
}

/// Refuses an answer that none of our scripts gives.
pub(crate) fn check_count(operation: &'static str, answers: usize, asked: usize) -> Result<()> {
    if answers == asked {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, operation, format!("{answers} answers for {asked} items")))
}

/// When some batches of a call were applied, "nothing was applied" is not true any more.
fn in_part(error: Error, applied: usize, all: usize) -> Error {
    if applied == 0 {
        return error;
    }
    let text = format!("{applied} of {all} changes were looked at, then: {}", error.message());
    Error::new(ErrorKind::Unknown, "write", text).with_source(error)
}

/// A note from what is stored: its version, a line feed and its value.
fn decode(operation: &'static str, key: &str, stored: Bytes) -> Result<Note> {
    let end = stored.iter().take(21).position(|byte| *byte == b'\n');
    let version = end.and_then(|end| std::str::from_utf8(&stored[..end]).ok()?.parse().ok());
    match (end, version) {
        (Some(end), Some(version)) => Ok(Note { version, value: stored.slice(end + 1..) }),
        _ => Err(Error::new(ErrorKind::Codec, operation, format!("what is stored under {key} is no note"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_its_version_and_its_bytes() {
        let read = |stored: &'static [u8]| decode("read", "k", Bytes::from_static(stored));
        assert_eq!(read(b"7\n").unwrap(), Note { version: 7, value: Bytes::new() });
        let most = read(b"18446744073709551615\n\n\xff").unwrap();
        assert_eq!(most, Note { version: u64::MAX, value: Bytes::from_static(b"\n\xff") });
        for foreign in [&b""[..], b"\n", b"x\n", b"7", b"-7\n1", b"184467440737095516150\n"] {
            assert_eq!(read(foreign).unwrap_err().kind(), ErrorKind::Codec, "{foreign:?}");
        }
    }

    #[test]
    fn what_was_applied_in_part_is_unknown() {
        let away = || Error::new(ErrorKind::Unavailable, "write", "gone");
        assert_eq!(in_part(away(), 0, 3).kind(), ErrorKind::Unavailable);
        let error = in_part(away(), 2, 3);
        assert_eq!(error.kind(), ErrorKind::Unknown);
        assert_eq!(error.message(), "2 of 3 changes were looked at, then: gone");
    }
}
